//! Memory that runs out ends in one sentence.

use std::process::Command;

use crate::assumed::assets;
use crate::harness::{Ran, Toy};

/// Under a limit on addresses. `None` where the program did not even begin: its own file must be mapped, too.
fn limited(kilobytes: u64, arguments: &[String]) -> Option<Ran> {
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -v {kilobytes}; exec \"$@\""), "sh"])
        .arg(env!("CARGO_BIN_EXE_bertology"))
        .args(arguments)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let began = !matches!(output.status.code(), None | Some(126 | 127));
    began.then(|| Ran::of(output))
}

#[test]
fn too_little_memory_is_said() {
    let toy = Toy::new();
    let arguments = toy.arguments("importance", &["--threads", "24"]);
    let (mut out_of_memory, mut enough) = (0, 0);
    let mut kilobytes = 40_000;
    while enough < 8 {
        assert!(kilobytes < 4_000_000, "no limit was enough");
        if let Some(ran) = limited(kilobytes, &arguments) {
            // How many threads begin before memory is short is a matter of chance.
            if ran.code == Some(0) {
                enough += 1;
            } else {
                assert_eq!(ran.code, Some(1), "{kilobytes}: {}", ran.err);
                assert_eq!(ran.err.lines().count(), 1, "{kilobytes}: {}", ran.err);
                out_of_memory += usize::from(says_so(&ran));
            }
        }
        // Small steps: between too little to begin with and enough there is little room.
        kilobytes += kilobytes / 64;
    }
    assert!(out_of_memory > 0, "memory never ran out");
}

fn says_so(ran: &Ran) -> bool {
    let said = ran
        .err
        .starts_with("error: memory has run out (asked for: ");
    assert!(!said || ran.err.contains("say --threads 1,"), "{}", ran.err);
    said
}

/// On sentences enough for every thread to have work.
#[test]
fn fewer_threads_need_less_memory() {
    let toy = Toy::new();
    let mut arguments = vec!["importance".to_owned(), assets("tiny-bert")];
    arguments.extend(
        [
            "--task",
            "cola",
            "--output",
            &toy.text("out"),
            "--overwrite",
        ]
        .map(Into::into),
    );
    arguments.extend(["--data".to_owned(), assets("grammar")]);
    let with = |threads: &str| {
        let more = ["--threads", threads].map(Into::into);
        [arguments.clone(), more.to_vec()].concat()
    };
    let (many, one) = (with("24"), with("1"));
    let mut kilobytes = 100_000;
    loop {
        assert!(kilobytes < 4_000_000, "one thread needed as much as all");
        let many = limited(kilobytes, &many);
        if many.is_some_and(|ran| says_so(&ran))
            && limited(kilobytes, &one).is_some_and(|ran| ran.code == Some(0))
        {
            break;
        }
        kilobytes += kilobytes / 8;
    }
}

/// Fewer threads than were asked for are threads enough, and leave those that there are the memory to begin.
#[test]
fn threads_that_the_system_does_not_give_are_done_without() {
    let toy = Toy::new();
    toy.run("importance", &["--output", "OUT/free"]).ok();
    let out = toy.text("limited");
    let more = ["--threads", "4096", "--output", &out, "--overwrite"];
    let arguments = toy.arguments("importance", &more);
    for kilobytes in [300_000, 400_000, 500_000, 600_000] {
        let ran = limited(kilobytes, &arguments).expect("it begins");
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert_eq!(
            toy.bytes("free/head_importance.npy"),
            toy.bytes("limited/head_importance.npy")
        );
    }
}
