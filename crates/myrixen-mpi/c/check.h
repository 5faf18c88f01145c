/* What the programs share: a failed check names rank, place and reason and ends the job; patterns of bytes that tell where they come from. */
#ifndef CHECK_H
#define CHECK_H

#include <limits.h>
#include <mpi.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rank, ranks;

static void fail(const char *file, int line, const char *form, ...)
{
    char text[400];
    va_list list;
    va_start(list, form);
    vsnprintf(text, sizeof text, form, list);
    va_end(list);
    fprintf(stderr, "FAILED: rank %d of %d, %s:%d: %s\n", rank, ranks, file, line, text);
    fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, 1);
    exit(1);
}

#define CHECK(condition, ...)                              \
    do {                                                   \
        if (!(condition))                                  \
            fail(__FILE__, __LINE__, __VA_ARGS__);         \
    } while (0)

/* A call that has to succeed. */
#define MUST(call)                                                                         \
    do {                                                                                   \
        int code_ = (call);                                                                \
        if (code_ != MPI_SUCCESS) {                                                        \
            char why_[MPI_MAX_ERROR_STRING];                                               \
            int length_;                                                                   \
            MPI_Error_string(code_, why_, &length_);                                       \
            fail(__FILE__, __LINE__, "%s: %s", #call, why_);                               \
        }                                                                                  \
    } while (0)

/* Bytes that are kept free behind a buffer, to see whether anybody writes there. */
enum { GUARD = 64 };

/* The word number `at` of the pattern of `seed`. */
static inline uint64_t word(uint64_t seed, uint64_t at)
{
    uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15u + at * 0xbf58476d1ce4e5b9u;
    return x ^ (x >> 29);
}

static inline void fill(void *buffer, size_t length, uint64_t seed)
{
    unsigned char *to = buffer;
    size_t at = 0;
    for (; at + 8 <= length; at += 8) {
        uint64_t w = word(seed, at);
        memcpy(to + at, &w, 8);
    }
    uint64_t w = word(seed, at);
    memcpy(to + at, &w, length - at);
}

/* The first byte of `buffer` that is not the pattern's; -1 for none. */
static inline long differs(const void *buffer, size_t length, uint64_t seed)
{
    const unsigned char *from = buffer;
    for (size_t at = 0; at < length; at += 8) {
        uint64_t w = word(seed, at);
        size_t n = length - at < 8 ? length - at : 8;
        if (memcmp(from + at, &w, n) != 0)
            for (size_t i = 0; i < n; i++)
                if (from[at + i] != ((unsigned char *)&w)[i])
                    return (long)(at + i);
    }
    return -1;
}

/* A buffer with a guard behind it. Never fails. */
static inline void *room(size_t length)
{
    unsigned char *buffer = malloc(length + GUARD);
    CHECK(buffer, "no memory for %zu bytes", length);
    memset(buffer, 0xee, length + GUARD);
    return buffer;
}

/* Whether the guard behind `length` bytes is untouched. */
static inline int guarded(const void *buffer, size_t length)
{
    const unsigned char *from = buffer;
    for (size_t i = 0; i < GUARD; i++)
        if (from[length + i] != 0xee)
            return 0;
    return 1;
}

/* The partner of this rank in round `round` of 0..ranks; in each round everybody has one, maybe itself, and within all rounds each meets each. */
static inline int partner_in(int round)
{
    return (round - rank + ranks) % ranks;
}

/* How many hosts the ranks are on, by name: what the environment says in `MPI_CHECK_HOSTS`, or the test is not the one that was meant. */
static inline void count_hosts(void)
{
    const char *wanted = getenv("MPI_CHECK_HOSTS");
    char name[MPI_MAX_PROCESSOR_NAME] = "", *names = calloc((size_t)ranks, sizeof name);
    int length, hosts = 0;
    MPI_Get_processor_name(name, &length);
    MPI_Allgather(name, sizeof name, MPI_CHAR, names, sizeof name, MPI_CHAR, MPI_COMM_WORLD);
    for (int i = 0; i < ranks; i++) {
        int known = 0;
        for (int k = 0; k < i; k++)
            known |= !strcmp(names + (size_t)i * sizeof name, names + (size_t)k * sizeof name);
        hosts += !known;
    }
    free(names);
    CHECK(!wanted || hosts == atoi(wanted), "%d ranks are on %d hosts, not %s", ranks, hosts, wanted);
}

static inline void begin(int *count, char ***words, int level)
{
    int given;
    MPI_Init_thread(count, words, level, &given);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    CHECK(given >= level, "MPI gives thread level %d, not %d", given, level);
    count_hosts();
}

/* Whether the environment asks for a part to be left out: `MPI_CHECK_WITHOUT=truncation,probes`. */
static inline int left_out(const char *part)
{
    const char *list = getenv("MPI_CHECK_WITHOUT");
    return list && strstr(list, part);
}

/* Bytes of the longest messages that the environment asks for: `MPI_CHECK_LONGEST=65537` where all of them would take too long. */
static inline long longest(void)
{
    const char *said = getenv("MPI_CHECK_LONGEST");
    return said ? atol(said) : LONG_MAX;
}

/* One part of a program: run by all, and over for all before the next. */
#define PART(function)                                                    \
    do {                                                                  \
        if (left_out(#function))                                          \
            break;                                                        \
        double begun_ = MPI_Wtime();                                      \
        function();                                                       \
        MUST(MPI_Barrier(MPI_COMM_WORLD));                                \
        if (rank == 0) {                                                  \
            printf("  %s: well, %.2f s\n", #function, MPI_Wtime() - begun_); \
            fflush(stdout);                                               \
        }                                                                 \
    } while (0)

static inline int finish(const char *name)
{
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == 0)
        printf("PASSED: %s, %d ranks\n", name, ranks);
    fflush(stdout);
    MPI_Finalize();
    return 0;
}

#endif
