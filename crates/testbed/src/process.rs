//! One real part as a child process: output in a file, signals, exit, and gone when dropped or when this process dies.
//!
//! Every command runs under `testbed-guard`, which holds the other end of a pipe of ours. The pipe closes however this
//! process ends, SIGKILL included, and the guard then ends the command and its whole process group.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::{Error, Result, bins};

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(10);
/// How long the guard may take to say that the command runs.
const SPAWN_LIMIT: Duration = Duration::from_secs(20);
/// Lines of a log that an error or a failing test shows.
pub(crate) const TAIL_LINES: usize = 30;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited by itself with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// Its guard vanished, so nobody saw the end.
    Lost,
}

impl Exit {
    /// Whether it exited by itself with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::Lost => f.write_str("ended unseen"),
        }
    }
}

/// What a process can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: please end.
    Terminate,
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGKILL: ends at once, without a chance to tidy.
    Kill,
    /// SIGSTOP: freezes until [`Signal::Continue`].
    Freeze,
    /// SIGCONT.
    Continue,
}

/// What to run, and how it is treated at its end.
#[derive(Clone, Debug)]
pub struct Spec {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    folder: Option<PathBuf>,
    log: PathBuf,
    grace: Duration,
    scrub: Option<PathBuf>,
}

impl Spec {
    /// `program` under the name that errors use, with its output appended to `log`.
    #[must_use]
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            folder: None,
            log: log.into(),
            grace: Duration::ZERO,
            scrub: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Keeps variables of the person's own environment away from the process.
    #[must_use]
    pub fn without_env<K: AsRef<OsStr>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.env.extend(keys.into_iter().map(|key| (key.as_ref().to_owned(), None)));
        self
    }

    /// Runs it in this folder.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Time between SIGTERM and SIGKILL when it is dropped. Zero, the default, kills at once: right for what has
    /// nothing to save.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// A folder that is removed when this process dies without having ended the command in good order.
    #[must_use]
    pub fn scrub_if_orphaned(mut self, folder: impl Into<PathBuf>) -> Self {
        self.scrub = Some(folder.into());
        self
    }

    /// Starts it. It runs when this returns; whether it serves is for the caller to find out.
    ///
    /// # Errors
    /// [`Error::Start`] when the program cannot be run, [`Error::Missing`] without the guard program.
    pub fn spawn(self) -> Result<Process> {
        let guard = bins::program("testbed-guard")?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(Error::io(format!("open {}", self.log.display())))?;
        let mut command = Command::new(guard);
        command
            .arg(self.grace.as_millis().to_string())
            .arg(self.scrub.unwrap_or_default())
            .arg(&self.program)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C in a terminal reaches only us; we decide the order in which things end.
            .process_group(0);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        for (key, value) in &self.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        let child = command.spawn().map_err(Error::io("run testbed-guard"))?;
        Process::watch(self.name, self.log, self.grace, child)
    }
}

/// A running (or ended) child process. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    grace: Duration,
    pid: u32,
    orders: Mutex<Option<ChildStdin>>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Process {
    fn watch(name: String, log: PathBuf, grace: Duration, mut guard: Child) -> Result<Self> {
        let (Some(orders), Some(answers)) = (guard.stdin.take(), guard.stdout.take()) else {
            return Err(Error::Bug("the guard has no pipes".to_owned()));
        };
        let (first, started) = mpsc::channel();
        let (ended, exit) = watch::channel(None);
        std::thread::spawn(move || {
            let mut end = Exit::Lost;
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                match parse_exit(&line) {
                    Some(exit) => end = exit,
                    None => drop(first.send(line)),
                }
            }
            let _ = guard.wait();
            ended.send_replace(Some(end));
        });
        let reason = match started.recv_timeout(SPAWN_LIMIT) {
            Ok(line) => match line.strip_prefix("pid ").and_then(|pid| pid.parse().ok()) {
                Some(pid) => {
                    return Ok(Self { name, log, grace, pid, orders: Mutex::new(Some(orders)), exit });
                }
                None => line.trim_start_matches("error ").to_owned(),
            },
            Err(RecvTimeoutError::Timeout) => format!("not running after {} s", SPAWN_LIMIT.as_secs()),
            Err(RecvTimeoutError::Disconnected) => "its guard ended at once".to_owned(),
        };
        Err(Error::Start { part: name, reason, tail: tail_of(&log, TAIL_LINES), log })
    }

    /// The name errors use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id of the command itself (not of its guard).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where standard output and standard error go.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Everything written so far.
    #[must_use]
    pub fn log(&self) -> String {
        read_lossy(&self.log)
    }

    /// How it ended; `None` while it runs.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Sends a signal; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        self.order(match signal {
            Signal::Terminate => b'T',
            Signal::Interrupt => b'I',
            Signal::Kill => b'K',
            Signal::Freeze => b'S',
            Signal::Continue => b'C',
        });
    }

    /// Waits until it has ended, at most `limit`.
    pub async fn wait(&self, limit: Duration) -> Option<Exit> {
        let mut exit = self.exit.clone();
        match tokio::time::timeout(limit, exit.wait_for(Option::is_some)).await {
            Ok(Ok(end)) => *end,
            Ok(Err(_)) => Some(Exit::Lost),
            Err(_) => None,
        }
    }

    /// SIGTERM, at most `limit`, then SIGKILL.
    pub async fn stop(&self, limit: Duration) -> Exit {
        self.signal(Signal::Terminate);
        match self.wait(limit).await {
            Some(exit) => exit,
            None => self.kill().await,
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(&self) -> Exit {
        self.signal(Signal::Kill);
        // Nothing survives SIGKILL; the limit is for a guard that somebody froze.
        self.wait(Duration::from_secs(30)).await.unwrap_or(Exit::Lost)
    }

    /// An error that says why this part did not come up, with the end of its log.
    pub(crate) fn start_error(&self, reason: impl Into<String>) -> Error {
        Error::Start {
            part: self.name.clone(),
            reason: reason.into(),
            log: self.log.clone(),
            tail: tail_of(&self.log, TAIL_LINES),
        }
    }

    /// Shows the end of the log when the running test is failing: for parts that tests share, which are not dropped
    /// with the test.
    pub fn show_tail_if_failing(&self) {
        if std::thread::panicking() {
            eprintln!(
                "--- {}: end of {} ---\n{}",
                self.name,
                self.log.display(),
                tail_of(&self.log, TAIL_LINES)
            );
        }
    }

    fn order(&self, order: u8) {
        let mut orders = self.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(pipe) = orders.as_mut() {
            // A guard that is gone has nothing left to signal.
            let _ = pipe.write_all(&[order]).and_then(|()| pipe.flush());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.show_tail_if_failing();
        self.order(b'D');
        drop(self.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        let limit = Instant::now() + self.grace + Duration::from_secs(5);
        while self.exit().is_none() && Instant::now() < limit {
            std::thread::sleep(POLL);
        }
    }
}

fn parse_exit(line: &str) -> Option<Exit> {
    if let Some(code) = line.strip_prefix("exit code ") {
        return code.parse().ok().map(Exit::Code);
    }
    line.strip_prefix("exit signal ").and_then(|signal| signal.parse().ok()).map(Exit::Signal)
}

/// The last lines of a log; says so when there is nothing.
#[must_use]
pub fn tail_of(log: &Path, lines: usize) -> String {
    let text = read_lossy(log);
    let all: Vec<&str> = text.lines().collect();
    let tail = all[all.len().saturating_sub(lines)..].join("\n");
    if tail.is_empty() { "(nothing was written)".to_owned() } else { tail }
}

fn read_lossy(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
