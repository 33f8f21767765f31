//! Runs one command and sees to it that the command does not outlive whoever asked for it.
//!
//! `testbed-guard <grace-ms> <folder to scrub or ""> <program> [argument…]`
//!
//! Standard input is the asker's end of a pipe. A byte is an order: `T`, `K`, `I`, `S`, `C` send SIGTERM, SIGKILL,
//! SIGINT, SIGSTOP, SIGCONT to the command. End of file means that the asker has let go or is dead, however it died
//! (the kernel closes its pipes): the command's process group gets SIGTERM, the grace, and SIGKILL. After `D` (orderly)
//! the folder stays; without it the asker is taken for dead and the folder is removed once the command is gone.
//! Standard output answers `pid <n>`, then `exit code <n>` or `exit signal <n>`; the command's own output goes to this
//! program's standard error.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// What the thread that listens to the asker and the one that waits for the command share.
#[derive(Debug)]
struct Watched {
    pid: Pid,
    /// True once the command is reaped: from then on its number may belong to somebody else.
    reaped: Mutex<bool>,
    orderly: AtomicBool,
    let_go: AtomicBool,
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(grace), Some(scrub), Some(program)) = (args.next(), args.next(), args.next()) else {
        return fail("usage: testbed-guard <grace-ms> <folder> <program> [argument…]");
    };
    let Some(grace) = grace.to_str().and_then(|text| text.parse().ok()).map(Duration::from_millis) else {
        return fail("the grace is not a number of milliseconds");
    };
    let output =
        || std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
    let spawned = Command::new(&program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(output())
        .stderr(output())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return fail(&format!("cannot run {}: {error}", PathBuf::from(program).display())),
    };
    let watched = Arc::new(Watched {
        pid: Pid::from_child(&child),
        reaped: Mutex::new(false),
        orderly: AtomicBool::new(false),
        let_go: AtomicBool::new(false),
    });
    say(&format!("pid {}", child.id()));
    std::thread::spawn({
        let watched = Arc::clone(&watched);
        move || listen(&watched, grace)
    });
    let outcome = reap(&mut child, &watched);
    if watched.let_go.load(Ordering::Acquire) && !watched.orderly.load(Ordering::Acquire) && !scrub.is_empty()
    {
        let _ = std::fs::remove_dir_all(PathBuf::from(scrub));
    }
    say(&outcome);
    ExitCode::SUCCESS
}

/// Obeys the asker until it lets go, then ends the command.
fn listen(watched: &Watched, grace: Duration) {
    let mut byte = [0];
    while let Ok(1) = std::io::stdin().read(&mut byte) {
        match byte[0] {
            b'T' => watched.signal(Signal::TERM, false),
            b'K' => watched.signal(Signal::KILL, false),
            b'I' => watched.signal(Signal::INT, false),
            b'S' => watched.signal(Signal::STOP, false),
            b'C' => watched.signal(Signal::CONT, false),
            b'D' => watched.orderly.store(true, Ordering::Release),
            _ => {}
        }
    }
    watched.let_go.store(true, Ordering::Release);
    if !grace.is_zero() {
        watched.signal(Signal::TERM, true);
        // A stopped process would never see the SIGTERM.
        watched.signal(Signal::CONT, true);
        let end = Instant::now() + grace;
        while Instant::now() < end && !*watched.reaped.lock().unwrap_or_else(PoisonError::into_inner) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    watched.signal(Signal::KILL, true);
}

/// Waits for the command, ends what it left behind in its group, and says how it went.
fn reap(child: &mut Child, watched: &Watched) -> String {
    // Left as a zombie until the lock is held, so that no signal can reach a stranger with the same number.
    let waited = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::Pid(watched.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
    });
    let mut reaped = watched.reaped.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = rustix::process::kill_process_group(watched.pid, Signal::KILL);
    let status = child.wait();
    *reaped = true;
    drop(reaped);
    match (waited, status) {
        (Err(error), _) => format!("error cannot wait: {error}"),
        (_, Err(error)) => format!("error cannot reap: {error}"),
        (_, Ok(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("exit signal {}", signal.unwrap_or(0)),
        },
    }
}

impl Watched {
    fn signal(&self, signal: Signal, group: bool) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            let send =
                if group { rustix::process::kill_process_group } else { rustix::process::kill_process };
            let _ = send(self.pid, signal);
        }
    }
}

fn fail(reason: &str) -> ExitCode {
    say(&format!("error {reason}"));
    ExitCode::FAILURE
}

/// One line to the asker, who may be gone.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
