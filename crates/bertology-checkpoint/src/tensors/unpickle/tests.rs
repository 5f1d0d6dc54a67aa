use super::*;

fn refused(input: &[u8]) -> Fault {
    state_dict(input).expect_err("must be refused")
}

#[test]
fn calls_are_refused_by_name_and_never_made() {
    // The classic: os.system("touch /tmp/x").
    let pickle = b"\x80\x02cos\nsystem\nX\x0c\x00\x00\x00touch /tmp/x\x85R.";
    assert_eq!(refused(pickle), Fault::Refused("os.system".into()));
    // Protocol 4 finds its names on the stack.
    let pickle = b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93)R.";
    assert_eq!(refused(pickle), Fault::Refused("os.system".into()));
    let pickle = b"\x80\x02csubprocess\nPopen\n)\x81.";
    assert_eq!(refused(pickle), Fault::Refused("subprocess.Popen".into()));
}

#[test]
fn every_prefix_of_a_pickle_is_an_error() {
    let pickle = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(X\x01\x00\x00\x00a\
        ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n\
        X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89\
        ccollections\nOrderedDict\n)RtRu.";
    let read = state_dict(pickle).expect("a whole state dict");
    let spec = TensorSpec {
        dtype: Dtype::F32,
        storage: "0".into(),
        storage_len: 6,
        offset: 0,
        shape: vec![2, 3],
        strides: vec![3, 1],
    };
    assert_eq!(read, [("a".to_owned(), spec)]);
    for end in 0..pickle.len() {
        assert!(state_dict(&pickle[..end]).is_err(), "the first {end} bytes");
    }
}

#[test]
fn hostile_structures_cost_no_more_than_their_bytes() {
    // A million nested tuples would overflow the stack of a recursive reader.
    let mut nested = b"\x80\x02N".to_vec();
    nested.extend(std::iter::repeat_n(0x85, 1_000_000));
    nested.push(b'.');
    assert!(matches!(refused(&nested), Fault::Other(_)));
    // Doubling through the memo would need 2^1000 values if references were copied.
    let mut doubling = b"\x80\x02N".to_vec();
    for _ in 0..1000 {
        doubling.extend(b"q\x00h\x00\x86");
    }
    doubling.push(b'.');
    assert!(matches!(refused(&doubling), Fault::Other(_)));
    // A string that claims four gigabytes, an integer of 255 bytes, unknown opcodes.
    for bytes in [
        &b"X\xff\xff\xff\xffabc."[..],
        b"\x8a\xff\x01.",
        b"\xfe.",
        b"u.",
        b"R.",
        b"q",
    ] {
        assert!(matches!(refused(bytes), Fault::Malformed(_)), "{bytes:?}");
    }
}

/// Long tuples and texts that are recalled again and again are not copied each time: copies of these would be
/// 100 GB.
#[test]
fn what_is_recalled_is_not_copied() {
    let begin = std::time::Instant::now();
    let long = "x".repeat(1 << 20);
    let mut text = b"\x80\x02X\x00\x00\x10\x00".to_vec();
    text.extend(long.as_bytes());
    text.extend(b"q\x00");
    // A class whose name is the text, made and dropped.
    text.extend(b"h\x00h\x00\x930".repeat(100_000));
    text.extend(b"N.");
    assert!(matches!(refused(&text), Fault::Other(_)));
    // Calls with a tuple of a million arguments; then with it for a shape.
    let storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000NK\x06tQq\x01";
    for (args, says) in [
        (&b"h\x00R0"[..], "wrong arguments"),
        (b"(h\x01K\x00h\x00h\x00tR0", "dimensions"),
    ] {
        let mut calls = b"\x80\x02(".to_vec();
        calls.extend(b"N".repeat(1 << 19));
        calls.extend(b"tq\x00");
        calls.extend(storage);
        for _ in 0..100_000 {
            calls.extend(b"ctorch._utils\n_rebuild_tensor_v2\n");
            calls.extend(args);
        }
        calls.extend(b"N.");
        let Fault::Malformed(problem) = refused(&calls) else {
            panic!("wrong fault")
        };
        assert!(problem.contains(says), "{problem}");
    }
    // A million values at once are more than any state dict has.
    assert!(matches!(
        refused(&b"N".repeat(2 << 20)),
        Fault::Malformed(_)
    ));
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

#[test]
fn an_entry_is_given_once() {
    let pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n\
        FloatStorage\nX\x01\x00\x00\x000NK\x06tQK\x00))tRq\x00}q\x01X\x01\x00\x00\x00aq\x02h\x00s\
        h\x02h\x00s.";
    let Fault::Malformed(problem) = refused(pickle) else {
        panic!("wrong fault")
    };
    assert!(problem.contains("`a` occurs twice"), "{problem}");
}

#[test]
fn entries_that_are_not_tensors_are_named() {
    let pickle = b"\x80\x02}X\x05\x00\x00\x00epochK\x03s.";
    let Fault::Other(problem) = refused(pickle) else {
        panic!("wrong fault")
    };
    assert!(problem.contains("`epoch` is an integer"), "{problem}");
}
