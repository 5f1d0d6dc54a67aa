//! Memory that runs out ends in one sentence.

use std::process::Command;

use crate::harness::{Ran, Toy};

/// Under a limit on addresses. `None` where the program did not even begin: its own file must be mapped, too.
fn limited(toy: &Toy, kilobytes: u64, more: &[&str]) -> Option<Ran> {
    let mut all = vec![env!("CARGO_BIN_EXE_bertology").to_owned()];
    all.extend(toy.arguments("importance", more));
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -v {kilobytes}; exec \"$@\""), "sh"])
        .args(all)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let began = !matches!(output.status.code(), None | Some(126 | 127));
    began.then(|| Ran::of(output))
}

#[test]
fn too_little_memory_is_said_and_fewer_threads_need_less() {
    let toy = Toy::new();
    let (mut out_of_memory, mut helped, mut enough) = (0, 0, 0);
    let mut kilobytes = 40_000;
    loop {
        assert!(kilobytes < 4_000_000, "no limit was enough");
        let ran = limited(&toy, kilobytes, &["--threads", "24"]);
        if let Some(ran) = ran {
            // How many threads begin before memory is short is a matter of chance.
            if ran.code == Some(0) {
                enough += 1;
                if enough == 24 {
                    break;
                }
                kilobytes += kilobytes / 64;
                continue;
            }
            assert_eq!(ran.code, Some(1), "{kilobytes}: {}", ran.err);
            assert_eq!(ran.err.lines().count(), 1, "{kilobytes}: {}", ran.err);
            if ran
                .err
                .starts_with("error: memory has run out (asked for: ")
            {
                assert!(ran.err.contains("say --threads 1,"), "{}", ran.err);
                out_of_memory += 1;
                let fewer = limited(&toy, kilobytes, &["--threads", "1"]);
                helped += u32::from(fewer.is_some_and(|ran| ran.code == Some(0)));
            }
        }
        // Small steps: between too little to begin with and enough there is little room.
        kilobytes += kilobytes / 64;
    }
    assert!(out_of_memory > 0, "memory never ran out");
    assert!(helped > 0, "one thread needed as much as all");
}

/// Fewer threads than were asked for are threads enough, unless they have taken the memory of those that there are.
#[test]
fn threads_that_the_system_does_not_give_are_done_without() {
    let toy = Toy::new();
    toy.run("importance", &["--output", "OUT/free"]).ok();
    let out = toy.text("limited");
    let mut done = 0;
    for kilobytes in [300_000, 400_000, 500_000, 600_000] {
        let more = ["--threads", "4096", "--output", &out, "--overwrite"];
        let ran = limited(&toy, kilobytes, &more).expect("it begins");
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        if ran.code == Some(0) {
            done += 1;
            assert_eq!(
                toy.bytes("free/head_importance.npy"),
                toy.bytes("limited/head_importance.npy")
            );
        } else {
            assert_eq!(ran.code, Some(1), "{}", ran.err);
            assert!(ran.err.contains("error: memory has run out"), "{}", ran.err);
        }
    }
    assert!(done > 0, "a limit on threads stopped every run");
}
