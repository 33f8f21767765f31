//! The demo does what it promises, and leaves nothing behind however it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn demo(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["demo", "--root", ROOT])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Command lines of living processes that mention the demo's own folder: every part's guard does.
fn left_of(demo: u32) -> Vec<String> {
    let folder = format!("/slimio-testbed-{}/{demo}-", rustix::process::getuid().as_raw());
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&folder))
        .collect()
}

fn nothing_is_left_of(demo: u32) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let left = left_of(demo);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "still there: {left:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A demo that is up: its parts run and kubectl's output was shown.
fn running_demo() -> Child {
    let mut child = demo(&[]);
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let up = lines.any(|line| line.unwrap().contains("It stays up until Ctrl-C"));
    drop(lines);
    if !up {
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        panic!("the demo did not come up: {stderr}");
    }
    assert!(left_of(child.id()).len() >= 10, "{:#?}", left_of(child.id()));
    child
}

#[test]
fn the_demo_goes_from_nothing_to_findings_and_back_and_says_so() {
    let child = demo(&["--once"]);
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    for shown in [
        "$ kubectl get connectors,scans -n demo",
        "Ready=True",
        "\"custommer-exports\"",
        "connector.slim.io \"customer-exports\" deleted",
        "The main job is done.",
    ] {
        assert!(stdout.contains(shown), "{shown} is not in:\n{stdout}");
    }
    nothing_is_left_of(pid);
}

#[test]
fn ctrl_c_ends_the_demo_and_all_that_it_started() {
    let mut child = running_demo();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(left_of(child.id()), Vec::<String>::new());
}

#[test]
fn a_demo_killed_by_sigkill_leaves_no_process_behind() {
    let mut child = running_demo();
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_is_left_of(child.id());
}
