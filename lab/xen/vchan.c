/* Measures libxenvchan between two domains as `myrixen perf` measures our own paths: an order ahead of each test, a short
 * run to warm up, then runs in parts for about the time given; both sides block in libxenvchan, which sleeps on the event
 * channel. Prints one record in the format of docs/perf-json.md.
 *
 *     vchan serve DOMID PATH               takes part in everything that the domain DOMID orders; PATH is below our data/
 *     vchan pingpong|stream DOMID PATH SIZE SECONDS
 *                                          DOMID is the server's, and PATH as it reads in xenstore from the root
 */

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libxenvchan.h>

/* Bytes of each ring, unless VCHAN_RING says otherwise: the library's most, with which it is fastest. */
#define RING (1u << 20)
/* As in bin/myrixen-cli/src/measure/timing.rs. */
#define WARM_UP 20
#define LEAST 10
#define MOST (1u << 24)
/* Round trips that are kept: more are measured no better. */
#define KEPT (1u << 20)
#define LARGEST (1u << 30)
#define GO '+'

enum { ECHO = 1, TAKE = 2 };

/* A test, ahead of it. */
struct order {
	uint64_t kind, size, count;
};

/* Round-trip times in nanoseconds. */
struct times {
	uint64_t *each;
	size_t count;
};

static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("vchan: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *memory(size_t size)
{
	void *bytes = malloc(size ? size : 1);

	if (!bytes)
		fail("no memory for %zu bytes", size);
	return bytes;
}

static void put(struct libxenvchan *vchan, const void *from, size_t size)
{
	const char *bytes = from;

	while (size > 0) {
		int written = libxenvchan_write(vchan, bytes, size);

		if (written <= 0)
			fail("the other end is gone");
		bytes += written;
		size -= (size_t)written;
	}
}

static void take(struct libxenvchan *vchan, void *to, size_t size)
{
	char *bytes = to;

	while (size > 0) {
		int got = libxenvchan_read(vchan, bytes, size);

		if (got <= 0)
			fail("the other end is gone");
		bytes += got;
		size -= (size_t)got;
	}
}

static void say_go(struct libxenvchan *vchan)
{
	const char go = GO;

	put(vchan, &go, 1);
}

static void hear_go(struct libxenvchan *vchan)
{
	char go = 0;

	take(vchan, &go, 1);
	if (go != GO)
		fail("the other end said %d", go);
}

/* Serves one client after the other, for ever. */
static void serve(struct libxenvchan *vchan)
{
	struct order order;

	for (;;) {
		char *message;
		uint64_t i;

		take(vchan, &order, sizeof order);
		if ((order.kind != ECHO && order.kind != TAKE) || order.size > LARGEST)
			fail("an order that is none");
		message = memory(order.size);
		say_go(vchan);
		for (i = 0; i < order.count; i++) {
			take(vchan, message, order.size);
			if (order.kind == ECHO)
				put(vchan, message, order.size);
		}
		if (order.kind == TAKE)
			say_go(vchan);
		free(message);
	}
}

static void send_order(struct libxenvchan *vchan, uint64_t kind, uint64_t size, uint64_t count)
{
	struct order order = { kind, size, count };

	put(vchan, &order, sizeof order);
	hear_go(vchan);
}

/* Returns what all of them took. */
static uint64_t round_trips(struct libxenvchan *vchan, size_t size, uint64_t count, struct times *times)
{
	char *out = memory(size), *in = memory(size);
	uint64_t begun, before, i;

	memset(out, 0x5a, size);
	memset(in, 0, size);
	send_order(vchan, ECHO, size, count);
	begun = before = now();
	for (i = 0; i < count; i++) {
		uint64_t after;

		put(vchan, out, size);
		take(vchan, in, size);
		after = now();
		if (times && times->count < KEPT)
			times->each[times->count++] = after - before;
		before = after;
	}
	if (memcmp(in, out, size) != 0)
		fail("another answer came back than was sent");
	free(out);
	free(in);
	return before - begun;
}

/* Returns what it took until the last message had arrived. */
static uint64_t one_way(struct libxenvchan *vchan, size_t size, uint64_t count)
{
	char *message = memory(size);
	uint64_t begun, i;

	memset(message, 0x5a, size);
	send_order(vchan, TAKE, size, count);
	begun = now();
	for (i = 0; i < count; i++)
		put(vchan, message, size);
	hear_go(vchan);
	free(message);
	return now() - begun;
}

static uint64_t fitting(uint64_t time, uint64_t each)
{
	uint64_t fits = time / (each ? each : 1);

	return fits < LEAST ? LEAST : fits > MOST ? MOST : fits;
}

static uint64_t left(uint64_t until)
{
	uint64_t at = now();

	return at < until ? until - at : 0;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Half of what a share of the round trips, in thousandths, is at most. */
static unsigned long long half(const struct times *times, size_t thousandths)
{
	size_t rank = (times->count * thousandths + 999) / 1000;

	return times->each[rank ? rank - 1 : 0] / 2;
}

static void pingpong(struct libxenvchan *vchan, size_t size, uint64_t time)
{
	struct times times = { memory(KEPT * sizeof(uint64_t)), 0 };
	uint64_t until = now() + time;
	uint64_t each = round_trips(vchan, size, WARM_UP, &times) / WARM_UP;

	if (now() < until)
		times.count = 0;
	while (times.count < LEAST || (left(until) > 0 && times.count < KEPT)) {
		uint64_t count = fitting(left(until) / 3, each);

		each = round_trips(vchan, size, count, &times) / count;
	}
	qsort(times.each, times.count, sizeof(uint64_t), ascending);
	printf("{\"test\":\"pingpong\",\"path\":\"peer:xenvchan\",\"size\":%zu,\"half_rtt_ns\":{\"p50\":%llu,\"p99\":%llu,"
	       "\"p999\":%llu},\"wait\":\"sleep\",\"iterations\":%zu}\n",
	       size, half(&times, 500), half(&times, 990), half(&times, 999), times.count);
	free(times.each);
}

static void stream(struct libxenvchan *vchan, size_t size, uint64_t time)
{
	uint64_t until = now() + time, count = WARM_UP, sent = 0, took = 0;
	uint64_t latest = one_way(vchan, size, count), first = latest;

	while (left(until) > 0) {
		uint64_t most = left(until) < time / 4 ? left(until) : time / 4;

		count = fitting(most, latest / count);
		latest = one_way(vchan, size, count);
		sent += count;
		took += latest;
	}
	if (sent == 0) {
		sent = WARM_UP;
		took = first;
	}
	printf("{\"test\":\"stream\",\"path\":\"peer:xenvchan\",\"size\":%zu,\"mb_per_s\":%.3f,\"wait\":\"sleep\","
	       "\"messages\":%llu}\n",
	       size, (double)sent * (double)size * 1e3 / (double)took, (unsigned long long)sent);
}

static unsigned long number(const char *text, unsigned long most)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || end == text || value > most)
		fail("%s is no number up to %lu", text, most);
	return value;
}

int main(int argc, char **argv)
{
	struct libxenvchan *vchan;
	const char *ring = getenv("VCHAN_RING");
	int domain;

	if (argc < 4)
		fail("say serve DOMID PATH, or pingpong or stream DOMID PATH SIZE SECONDS");
	domain = (int)number(argv[2], 0x7fef);
	if (strcmp(argv[1], "serve") == 0) {
		size_t bytes = ring ? number(ring, 1u << 20) : RING;

		vchan = libxenvchan_server_init(NULL, domain, argv[3], bytes, bytes);
		if (!vchan)
			fail("cannot serve domain %d at %s: %s", domain, argv[3], strerror(errno));
		vchan->blocking = 1;
		vchan->server_persist = 1; /* the next client may come */
		serve(vchan);
	} else {
		size_t size;
		uint64_t time;

		if (argc != 6)
			fail("SIZE and SECONDS are wanted");
		size = number(argv[4], LARGEST);
		time = number(argv[5], 3600) * 1000000000u;
		vchan = libxenvchan_client_init(NULL, domain, argv[3]);
		if (!vchan)
			fail("cannot connect to domain %d at %s: %s", domain, argv[3], strerror(errno));
		vchan->blocking = 1;
		if (strcmp(argv[1], "pingpong") == 0)
			pingpong(vchan, size, time);
		else if (strcmp(argv[1], "stream") == 0)
			stream(vchan, size, time);
		else
			fail("what is %s?", argv[1]);
	}
	libxenvchan_close(vchan);
	return 0;
}
