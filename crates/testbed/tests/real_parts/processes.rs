//! A child process never outlives the handle, the test or the parent that holds it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testbed::{Error, Exit, Signal, Spec};

fn runs(pid: u32) -> bool {
    // A zombie has ended; it only waits for its parent (nobody's child is ours here, so none stays).
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}

fn gone_soon(pid: u32) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while runs(pid) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    !runs(pid)
}

fn shell(folder: &Path, script: &str) -> Spec {
    Spec::new("script", "/bin/sh", folder.join("log")).args(["-c", script])
}

#[tokio::test]
async fn a_process_reports_how_it_ended_and_its_output_is_in_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "echo out; echo err >&2; exit 3").spawn().unwrap();
    assert_eq!(process.wait(Duration::from_secs(10)).await, Some(Exit::Code(3)));
    assert_eq!(process.log(), "out\nerr\n");
    let process = shell(folder.path(), "sleep 600").spawn().unwrap();
    assert_eq!(process.kill().await, Exit::Signal(9));
}

#[tokio::test]
async fn stopping_lets_a_process_tidy_up_and_kills_one_that_does_not_end() {
    let folder = tempfile::tempdir().unwrap();
    let polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let process = shell(folder.path(), polite).spawn().unwrap();
    while !process.log().contains("up") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(process.stop(Duration::from_secs(10)).await, Exit::Code(0));
    assert!(process.log().contains("bye"));
    let stubborn =
        shell(folder.path(), "trap '' TERM; echo deaf; while :; do sleep 0.05; done").spawn().unwrap();
    while !stubborn.log().contains("deaf") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stubborn.stop(Duration::from_millis(200)).await, Exit::Signal(9));
}

#[tokio::test]
async fn a_dropped_process_is_gone_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "sleep 600 & echo $!; wait").spawn().unwrap();
    let child: u32 = loop {
        if let Ok(pid) = process.log().trim().parse() {
            break pid;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let pid = process.pid();
    assert!(runs(pid) && runs(child));
    drop(process);
    assert!(gone_soon(pid) && gone_soon(child));
}

#[tokio::test]
async fn a_frozen_process_is_ended_too() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "sleep 600").grace(Duration::from_millis(500)).spawn().unwrap();
    process.signal(Signal::Freeze);
    let pid = process.pid();
    drop(process);
    assert!(gone_soon(pid));
}

#[test]
fn a_program_that_is_not_there_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = Spec::new("part", "/no/such/program", folder.path().join("log")).spawn().unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error:?}");
    assert!(error.to_string().contains("cannot run /no/such/program"), "{error}");
}

/// The parent here is a shell that holds the guard's pipe, as this process does for its own children, and is killed.
#[test]
fn a_parent_killed_by_sigkill_takes_the_process_and_its_data_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let guard = testbed::bins::program("testbed-guard").unwrap();
    // Opened for reading and writing, so that the open does not block; the guard gets an end for reading only.
    let script = r#"exec 9<>"$1"; "$2" 1000 "$3" sleep 600 <"$1" 9>&- & wait"#;
    let mut parent = Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .args([&pipe, &guard, &data])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: u32 = line.trim().strip_prefix("pid ").unwrap().parse().unwrap();
    assert!(runs(pid));
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(gone_soon(pid));
    let end = Instant::now() + Duration::from_secs(10);
    while data.exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!data.exists(), "the data of a dead parent is removed");
}
