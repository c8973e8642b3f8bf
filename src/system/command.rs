//! A command of the operator's, run by the shell: with a time-out, its output captured, its whole group ended. Adapter.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::process::Stdio;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::child::{Group, exit};
use super::init::{self, Started};
use super::{sd_notify, syscalls};
use crate::model::os::{Exit, Signal};
use crate::model::report::chain;

/// How many bytes of a command's output we keep: its end, where the reason usually stands.
const KEEP: usize = 4096;
/// How many of its last lines an error quotes.
const LAST_LINES: usize = 10;
/// How many bytes we read at most of what lies in the pipe when the command has ended: a process that it left behind may
/// write for ever.
const REST: usize = 1 << 20;

/// Why a command did not do its work.
#[derive(Debug, Error)]
pub enum CommandError {
    /// The shell could not be started.
    #[error("cannot run `{command}`: /bin/sh does not start")]
    Start {
        /// The command.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// It ended with a status other than 0.
    #[error("`{command}` ended with {exit}{}", quote_last_lines(output))]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        exit: Exit,
        /// The end of what it printed.
        output: String,
    },
    /// It did not end in time and was killed with everything it had started.
    #[error("`{command}` did not end within {} s and was killed{}", limit.as_secs_f64(), quote_last_lines(output))]
    TimedOut {
        /// The command.
        command: String,
        /// How long it had.
        limit: Duration,
        /// The end of what it printed.
        output: String,
    },
}

impl CommandError {
    /// How the command ended, if it did so by itself.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        match self {
            Self::Failed { exit, .. } => Some(*exit),
            Self::Start { .. } | Self::TimedOut { .. } => None,
        }
    }

    /// Why it failed, where there is little room: the program's own words first. The command, which may be long, is named
    /// last, and only if the program has said nothing.
    #[must_use]
    pub fn brief(&self) -> String {
        let (how, output, command) = match self {
            Self::Start { .. } => return chain(self),
            Self::Failed {
                exit,
                output,
                command,
            } => (format!("ended with {exit}"), output, command),
            Self::TimedOut {
                limit,
                output,
                command,
            } => (
                format!("did not end within {} s", limit.as_secs_f64()),
                output,
                command,
            ),
        };
        match telling_lines(output) {
            words if words.is_empty() => format!("{how}: `{command}`"),
            words if self.exit().is_some() => words,
            words => format!("{how}, saying: {words}"),
        }
    }
}

/// What an output says of an error: its first line that names one, and what follows it; without such a line, the last one.
fn telling_lines(output: &str) -> String {
    const SEVERE: [&str; 5] = ["[alert]", "[emerg]", "[crit]", "[error]", "error"];
    let lines = output.lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let says = |word: &str| {
        let mut lines = lines.iter();
        lines.position(|line| line.to_ascii_lowercase().contains(word))
    };
    let first = SEVERE.into_iter().find_map(says);
    lines[first.unwrap_or(lines.len().saturating_sub(1))..].join(" / ")
}

/// The end of an output as part of one line of a log.
fn quote_last_lines(output: &str) -> String {
    let lines = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(|line| line.escape_debug().collect()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    match last {
        [] => String::new(),
        lines => format!(", saying: {}", lines.join(" / ")),
    }
}

/// Kills what is left of a group when the command is over, or when nobody waits for it any more.
struct EndGroup(Group);

impl Drop for EndGroup {
    fn drop(&mut self) {
        // A group that is gone, or not ours any more, needs no killing.
        let _ = self.0.signal(Signal::KILL);
    }
}

/// What we do about processes that a command leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Leave them alone: they may be meant to stay.
    Alone,
    /// Kill them: a command that is run again and again would pile them up.
    Killed,
}

/// Runs `command` by `/bin/sh -c` and returns what it printed, the end of it where it is long.
///
/// The command has a process group of its own, and its standard input is empty. We kill the group when `limit` is over.
/// `left` says what we do about processes that a command leaves running when it ends by itself, such as a daemon. Their
/// output is read until they close it, also after we have ended: a pipe that nobody reads ends its next writer.
pub async fn run(command: &str, limit: Duration, left: Left) -> Result<String, CommandError> {
    let deadline = Instant::now() + limit;
    let failed = |source| CommandError::Start {
        command: command.to_owned(),
        source,
    };
    let (mut started, pipe) = start(command).map_err(failed)?;
    let mut group = Some(EndGroup(Group::of_child(&started)));
    let mut tail = Tail {
        output: Vec::new(),
        pipe: Some(pipe),
    };
    let ended = tail.until(timeout_at(deadline, started.wait())).await;
    if ended.is_err() || left == Left::Killed {
        // Its group goes first: what it printed can wait.
        drop(group.take());
    }
    tail.finish();
    let output = text(&tail.output);
    match ended {
        Ok(Ok(status)) => {
            if left == Left::Alone {
                std::mem::forget(group.take());
            }
            match exit(status) {
                Exit::Code(0) => Ok(output),
                exit => Err(CommandError::Failed {
                    command: command.to_owned(),
                    exit,
                    output,
                }),
            }
        }
        Ok(Err(source)) => Err(failed(source)),
        Err(_) => Err(CommandError::TimedOut {
            command: command.to_owned(),
            limit,
            output,
        }),
    }
}

/// What is wrong with a command, as far as the shell can tell without running it.
#[must_use]
pub fn mistake(command: &str) -> Option<String> {
    let shell = |args: &[&str]| {
        let mut shell = std::process::Command::new("/bin/sh");
        let output = shell.args(args).stdin(Stdio::null()).output().ok()?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        (!output.status.success()).then_some(said)
    };
    if let Some(said) = shell(&["-n", "-c", command]) {
        return Some(format!("the shell cannot read it: {said}"));
    }
    // What begins with anything but a plain word (a variable, an assignment, a brace) is for the shell to find.
    let word = command.split_whitespace().next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let missing = word.chars().all(plain) && shell(&["-c", "command -v -- \"$0\"", word]).is_some();
    missing.then(|| format!("{word} is not on the PATH of this host"))
}

/// Starts the shell; both of its outputs go into one pipe, so that their lines stay in order.
fn start(command: &str) -> io::Result<(Started, Receiver)> {
    let (reader, writer) = io::pipe()?;
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", command])
        .process_group(0)
        .env_remove(sd_notify::SOCKET)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    syscalls::start_as_we_were(&mut shell, false);
    let started = init::start(&mut shell)?;
    Ok((started, Receiver::from_owned_fd(reader.into())?))
}

fn text(output: &[u8]) -> String {
    let from = output.len().saturating_sub(KEEP);
    String::from_utf8_lossy(&output[from..]).into_owned()
}

/// Reads all that comes and forgets it; the loop is for systems that have a shell and no `cat`.
const READER: &str = "command -v cat >/dev/null && exec cat; while read -r line; do :; done";

/// Has a pipe read until nobody writes to it any more. That is the work of a process of its own: what was left behind may
/// outlive us, and would end at its next line if the reader of its pipe had gone with us. There are never more of these
/// than processes that were left behind.
fn read_to_the_end(pipe: File) {
    let start = || -> io::Result<Started> {
        let flags = OFlag::from_bits_truncate(fcntl(&pipe, FcntlArg::F_GETFL)?);
        fcntl(&pipe, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
        let mut reader = Command::new("/bin/sh");
        reader
            .args(["-c", READER])
            // No signal of a terminal or for our group is meant for it, and it keeps no directory busy.
            .process_group(0)
            .current_dir("/")
            .env_remove(sd_notify::SOCKET)
            .stdin(pipe)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        syscalls::start_as_we_were(&mut reader, false);
        init::start(&mut reader)
    };
    if let Err(error) = start() {
        warn!(%error, "what a command has left running will end when it prints something: {error}");
    }
}

/// The pipe of a command, read as it fills, so that the command never waits for a reader.
struct Tail {
    output: Vec<u8>,
    /// Until its end.
    pipe: Option<Receiver>,
}

impl Tail {
    /// Reads until `done` is.
    async fn until<T>(&mut self, done: impl Future<Output = T>) -> T {
        tokio::pin!(done);
        loop {
            tokio::select! {
                result = &mut done => return result,
                () = self.read_some(), if self.pipe.is_some() => {}
            }
        }
    }

    /// Reads what the command has left in the pipe. If somebody still holds the other end, nobody waits for that: the
    /// pipe gets a reader that outlives us.
    fn finish(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        let Ok(fd) = pipe.into_nonblocking_fd() else {
            return;
        };
        let (mut pipe, mut rest) = (File::from(fd), REST);
        let mut buffer = [0; 4096];
        while rest > 0 {
            match pipe.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    self.append(&buffer[..n]);
                    rest = rest.saturating_sub(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
        read_to_the_end(pipe);
    }

    async fn read_some(&mut self) {
        let mut buffer = [0; 1024];
        let read = match &mut self.pipe {
            Some(pipe) => pipe.read(&mut buffer).await,
            None => return,
        };
        match read {
            // A pipe that fails is at its end too.
            Ok(0) | Err(_) => self.pipe = None,
            Ok(n) => self.append(&buffer[..n]),
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        if self.output.len() > 4 * KEEP {
            self.output.drain(..self.output.len() - KEEP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::procfs::Stat;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn mistakes_are_found_without_running_anything() {
        for good in [
            "true",
            "cd / && ls",
            "test -e /x || exit 1",
            "X=1 no-such-program",
            "$EDITOR x",
            "/bin/sh -c x",
        ] {
            assert_eq!(mistake(good), None, "{good}");
        }
        assert!(mistake("no-such-program -c x").is_some_and(|what| what.contains("PATH")));
        assert!(mistake("if true; do").is_some_and(|what| what.contains("cannot read")));
    }

    #[test]
    fn a_brief_reason_begins_with_the_words_of_the_program() {
        let failed = |output: &str| CommandError::Failed {
            command: "haproxy -c -f x".to_owned(),
            exit: Exit::Code(1),
            output: output.to_owned(),
        };
        for (output, brief) in [
            (
                "[NOTICE]   (7) : haproxy version is 3.0.11\n[WARNING]  (7) : config : no error\n\
                 [ALERT]    (7) : config : parsing [h.cfg:2] : unknown keyword 'x'\n\
                 [ALERT]    (7) : config : Fatal errors found in configuration.\n",
                "[ALERT]    (7) : config : parsing [h.cfg:2] : unknown keyword 'x' / \
                 [ALERT]    (7) : config : Fatal errors found in configuration.",
            ),
            (
                "trying\nAH00526: Syntax error on line 5 of a.conf:\nInvalid command 'x'\n\n",
                "AH00526: Syntax error on line 5 of a.conf: / Invalid command 'x'",
            ),
            ("trying\n no bad ones \n\n", "no bad ones"),
            ("", "ended with exit status 1: `haproxy -c -f x`"),
        ] {
            assert_eq!(failed(output).brief(), brief);
        }
        let late = CommandError::TimedOut {
            command: "sleep 9".to_owned(),
            limit: Duration::from_secs(2),
            output: "asking\n".to_owned(),
        };
        assert_eq!(late.brief(), "did not end within 2 s, saying: asking");
    }

    #[tokio::test]
    async fn output_and_status() {
        assert_eq!(
            run("echo out; echo err >&2", LONG, Left::Alone)
                .await
                .unwrap()
                .lines()
                .count(),
            2
        );
        let error = run("echo no such server >&2; exit 3", LONG, Left::Alone)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`echo no such server >&2; exit 3` ended with exit status 3, saying: no such server"
        );
    }

    #[tokio::test]
    async fn much_output_blocks_nobody_and_its_end_is_kept() {
        let output = run("yes | head -c 1000000; echo the end", LONG, Left::Alone)
            .await
            .unwrap();
        assert!(output.len() <= KEEP && output.ends_with("the end\n"));
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let hang = format!(
            "sh -c 'echo $$ > {}; exec sleep 1000' & wait",
            file.display()
        );
        let error = run(&hang, Duration::from_millis(500), Left::Alone)
            .await
            .unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        let pid: i32 = std::fs::read_to_string(&file)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let start = Instant::now();
        // Killed, it may stay a zombie where nobody reaps orphans.
        while Stat::read(pid).is_some_and(|stat| !stat.has_ended) {
            assert!(start.elapsed() < LONG, "the grandchild lives on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_a_check_leaves_behind_is_killed() {
        let pid = run("sleep 1000 & echo $!", LONG, Left::Killed)
            .await
            .unwrap();
        let pid = pid.trim().parse().unwrap();
        let start = Instant::now();
        while Stat::read(pid).is_some_and(|stat| !stat.has_ended) {
            assert!(start.elapsed() < LONG, "it lives on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// It waits until there is a file `go`, prints more than a pipe holds, and then writes the file `alive`.
    fn prints_later(dir: &std::path::Path, start: &str) -> String {
        let at = dir.display();
        let script = format!(
            "echo > {at}/up; until [ -e {at}/go ]; do sleep 0.01; done; head -c 200000 /dev/zero; echo a line; \
             echo > {at}/alive"
        );
        format!("{start} sh -c '{script}' & until [ -e {at}/up ]; do sleep 0.01; done")
    }

    async fn lives_on(dir: &std::path::Path) {
        std::fs::write(dir.join("go"), "").unwrap();
        let start = Instant::now();
        while !dir.join("alive").exists() {
            assert!(start.elapsed() < LONG, "it has ended at its first line");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_is_left_running_may_print_for_as_long_as_it_likes() {
        let dir = tempfile::tempdir().unwrap();
        let reload = prints_later(dir.path(), "");
        run(&reload, LONG, Left::Alone).await.unwrap();
        lives_on(dir.path()).await;
        // A daemon that a check starts has left its group.
        let dir = tempfile::tempdir().unwrap();
        let check = prints_later(dir.path(), "setsid");
        run(&check, LONG, Left::Killed).await.unwrap();
        lives_on(dir.path()).await;
    }

    #[tokio::test]
    async fn who_prints_without_an_end_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let start = Instant::now();
        let command = format!("yes & echo $! > {}", file.display());
        let output = run(&command, LONG, Left::Alone).await.unwrap();
        let pid = std::fs::read_to_string(&file).unwrap();
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        assert!(output.len() <= KEEP && start.elapsed() < LONG);
    }

    #[tokio::test]
    async fn a_daemon_it_started_is_left_alone_and_holds_nobody_up() {
        let start = Instant::now();
        let pid = run("sleep 1000 & echo $!", LONG, Left::Alone)
            .await
            .unwrap();
        assert!(start.elapsed() < LONG);
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
        assert!(nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok());
    }
}
