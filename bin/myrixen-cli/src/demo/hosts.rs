//! The demo's two hosts: network namespaces joined by an Ethernet cable, or, where namespaces are forbidden, two
//! back ends on this machine joined by VXLAN.

use std::error::Error as _;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use myrixen_netlab::{Host, Lab, LabError};
use tempfile::TempDir;

use super::HOSTS;
use super::crew::{Crew, Member};

/// Payload of the Ethernet cable's frames, in bytes: jumbo frames.
const CABLE_MTU: u32 = 9000;

/// How long a back end may take to start: that long the kernel has taken for its sockets on a saturated machine, twice over.
const START: Duration = Duration::from_secs(20);

/// What joins the hosts.
pub(crate) enum Joint {
    /// A cable between two namespaces; the interfaces at its ends.
    Ethernet { interfaces: [String; 2] },
    /// UDP on loopback; the hosts' ports, and why it is not a cable.
    Vxlan { ports: [u16; 2], why: String },
}

impl Joint {
    /// Its name in records.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ethernet { .. } => "ethernet",
            Self::Vxlan { .. } => "vxlan",
        }
    }

    /// What it is, for people.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Ethernet { .. } => format!(
                "Two hosts (network namespaces), joined by an Ethernet link (veth, MTU {CABLE_MTU}) through AF_PACKET."
            ),
            Self::Vxlan { why, .. } => {
                format!("Two back ends joined by VXLAN over loopback UDP, because {why}.")
            }
        }
    }

    /// The `[[uplink]]` of a host's configuration.
    fn uplink(&self, host: usize) -> String {
        match self {
            Self::Ethernet { interfaces } => format!(
                "[[uplink]]\nname = \"cable\"\nkind = \"ethernet\"\ninterface = \"{}\"\n",
                interfaces[host]
            ),
            Self::Vxlan { ports, .. } => format!(
                "[[uplink]]\nname = \"tunnel\"\nkind = \"vxlan\"\nlisten = \"127.0.0.1:{}\"\n\
                 remotes = [\"127.0.0.1:{}\"]\nvni = 1\n",
                ports[host],
                ports[1 - host]
            ),
        }
    }
}

/// A back end and its guests: in which host it is, and the part of its configuration that says how it reaches others.
pub(crate) struct Post {
    pub(crate) name: String,
    /// Its place among the hosts; none where there are no namespaces.
    pub(crate) host: Option<usize>,
    /// The `[[uplink]]` of its configuration.
    pub(crate) uplink: String,
}

/// Where everything is: the hosts, and a directory for their sockets.
pub(crate) struct Site {
    hosts: Vec<Host>,
    posts: Vec<Post>,
    program: PathBuf,
    janitor: Option<Child>,
    directory: Option<TempDir>,
}

impl Site {
    /// Makes the demo's two hosts. To be called while the process has one thread.
    pub(crate) fn for_demo(vxlan: bool) -> anyhow::Result<(Self, Joint)> {
        let (hosts, joint) = if vxlan {
            (Vec::new(), tunnel("that was asked for".to_owned())?)
        } else {
            match cable() {
                Ok(made) => made,
                Err(error) => (Vec::new(), tunnel(chain(&error))?),
            }
        };
        let post = |(at, name): (usize, &&str)| Post {
            name: (*name).to_owned(),
            host: (!hosts.is_empty()).then_some(at),
            uplink: joint.uplink(at),
        };
        let posts = HOSTS.iter().enumerate().map(post).collect();
        Ok((Self::make(hosts, posts)?, joint))
    }

    /// Makes a directory, and in it one for each post with its configuration.
    pub(crate) fn make(hosts: Vec<Host>, posts: Vec<Post>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let directory = tempfile::Builder::new()
            .prefix("myrixen-")
            .tempdir()
            .context("cannot make a directory for sockets; TMPDIR names another place")?;
        let janitor = hire_janitor(&program, directory.path())?;
        let (janitor, directory) = (Some(janitor), Some(directory));
        let site = Self {
            hosts,
            posts,
            program,
            janitor,
            directory,
        };
        for post in &site.posts {
            site.furnish(post)?;
        }
        Ok(site)
    }

    /// Makes a post's directory and its back end's configuration.
    fn furnish(&self, post: &Post) -> anyhow::Result<()> {
        let directory = self.directory(post);
        let doing = || format!("cannot write to {}", directory.display());
        std::fs::create_dir(&directory).with_context(doing)?;
        let file = |name: &str| toml_string(&directory.join(name));
        let text = format!(
            "[host]\nname = \"{}\"\nstate_dir = {}\nsocket = {}\ncontrol = {}\n\n{}",
            post.name,
            toml_string(&directory),
            file("myrixen.sock"),
            file("control.sock"),
            post.uplink
        );
        std::fs::write(directory.join("myrixend.toml"), text).with_context(doing)
    }

    fn directory(&self, post: &Post) -> PathBuf {
        let directory = self.directory.as_ref().map_or(Path::new(""), TempDir::path);
        directory.join(&post.name)
    }

    /// Starts a post's back end and returns when it is ready for guests.
    pub(crate) fn start_daemon(&self, crew: &mut Crew, post: usize) -> anyhow::Result<Member> {
        let post = &self.posts[post];
        let name = format!("the back end of {}", post.name);
        let notify = self.directory(post).join("notify.sock");
        // Left by the one that was killed.
        let _ = std::fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify).with_context(|| {
            format!("cannot listen on {}; is TMPDIR too long?", notify.display())
        })?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let mut command = self.myself();
        command.args(["demo-part", "daemon", "--config"]);
        command.arg(self.directory(post).join("myrixend.toml"));
        command.env("NOTIFY_SOCKET", &notify);
        let member = self.hire(crew, post.host, &name, &mut command)?;
        let deadline = Instant::now() + START;
        let mut message = [0; 1024];
        loop {
            if let Ok(len) = socket.recv(&mut message)
                && message[..len]
                    .split(|&byte| byte == b'\n')
                    .any(|line| line == b"READY=1")
            {
                return Ok(member);
            }
            crew.check(member)?;
            if Instant::now() > deadline {
                bail!("{name} was not ready within {START:?}");
            }
        }
    }

    /// Starts a guest of a post.
    pub(crate) fn start_guest(
        &self,
        crew: &mut Crew,
        post: usize,
        name: &str,
        number: u16,
    ) -> anyhow::Result<Member> {
        let post = &self.posts[post];
        let mut command = self.myself();
        command.args(["demo-part", "guest", "--socket"]);
        command.arg(self.socket_of(post));
        command.args([
            "--board",
            &format!("{name}:0"),
            "--number",
            &number.to_string(),
        ]);
        self.hire(crew, post.host, &format!("guest {name}"), &mut command)
    }

    /// The socket of a post's back end.
    pub(crate) fn socket(&self, post: usize) -> PathBuf {
        self.socket_of(&self.posts[post])
    }

    /// Where a post's back end is asked by operators.
    pub(crate) fn control(&self, post: usize) -> PathBuf {
        self.directory(&self.posts[post]).join("control.sock")
    }

    fn socket_of(&self, post: &Post) -> PathBuf {
        self.directory(post).join("myrixen.sock")
    }

    /// A host.
    pub(crate) fn host(&self, at: usize) -> Option<&Host> {
        self.hosts.get(at)
    }

    /// This program, to be started again.
    pub(crate) fn myself(&self) -> Command {
        Command::new(&self.program)
    }

    /// Starts a process of the crew in a host.
    pub(crate) fn hire(
        &self,
        crew: &mut Crew,
        host: Option<usize>,
        name: &str,
        command: &mut Command,
    ) -> anyhow::Result<Member> {
        crew.hire(name, command, |command| self.spawn(host, command))
    }

    /// Starts a process in a host.
    pub(crate) fn spawn(
        &self,
        host: Option<usize>,
        command: &mut Command,
    ) -> anyhow::Result<Child> {
        match host.and_then(|host| self.hosts.get(host)) {
            Some(host) => Ok(host.spawn(command)?),
            None => Ok(command.spawn()?),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(directory) = self.directory.take() {
            // What is still in use is the janitor's.
            let _ = directory.close();
        }
        if let Some(mut janitor) = self.janitor.take() {
            drop(janitor.stdin.take());
            let _ = janitor.wait();
        }
    }
}

/// Starts the process that removes `directory` even if this one is killed: not in this process's group, so that
/// an interrupt from the terminal does not reach it.
fn hire_janitor(program: &Path, directory: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new(program);
    command
        .args(["demo-part", "janitor"])
        .arg(directory)
        .process_group(0);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().context("cannot start this program again")
}

fn cable() -> Result<(Vec<Host>, Joint), LabError> {
    let lab = Lab::enter()?;
    let (a, b) = (lab.host(HOSTS[0])?, lab.host(HOSTS[1])?);
    let interfaces = lab.cable([&a, &b], CABLE_MTU)?;
    Ok((vec![a, b], Joint::Ethernet { interfaces }))
}

fn tunnel(why: String) -> anyhow::Result<Joint> {
    // The kernel picks two free ports; they are free again until the back ends take them.
    let sockets = [
        UdpSocket::bind("127.0.0.1:0"),
        UdpSocket::bind("127.0.0.1:0"),
    ];
    let mut ports = [0; 2];
    for (port, socket) in ports.iter_mut().zip(sockets) {
        let socket = socket.context("cannot open a UDP port on loopback")?;
        *port = socket.local_addr()?.port();
    }
    Ok(Joint::Vxlan { ports, why })
}

/// An error and its sources in one line.
fn chain(error: &LabError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// A path as a TOML string.
fn toml_string(path: &Path) -> String {
    let mut text = String::from("\"");
    for c in path.to_string_lossy().chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_of_the_tunnel_names_the_other() {
        let joint = Joint::Vxlan {
            ports: [1111, 2222],
            why: "of a test".to_owned(),
        };
        assert!(
            joint
                .uplink(0)
                .contains("listen = \"127.0.0.1:1111\"\nremotes = [\"127.0.0.1:2222\"]")
        );
        assert!(
            joint
                .uplink(1)
                .contains("listen = \"127.0.0.1:2222\"\nremotes = [\"127.0.0.1:1111\"]")
        );
        assert!(joint.sentence().ends_with("because of a test."));
    }

    #[test]
    fn odd_paths_are_escaped() {
        assert_eq!(
            toml_string(Path::new("/tmp/a \"b\"\\c\n")),
            r#""/tmp/a \"b\"\\c\u000a""#
        );
    }
}
