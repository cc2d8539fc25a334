//! Any stream of frames, cut anywhere, for all formats.

use super::*;
use proptest::prelude::*;

/// What a stream came to: its frames, and the error or the bytes at its end.
type Outcome = (Vec<Vec<u8>>, Result<Vec<u8>, FrameError>);

/// Shows a stream piece by piece, as a connection shows it to a handler that takes one frame a call and says what it needs.
struct Shown {
    waiting: Vec<u8>,
    need: usize,
    frames: Vec<Vec<u8>>,
    calls: usize,
}

impl Shown {
    fn new() -> Shown {
        Shown { waiting: Vec::new(), need: 0, frames: Vec::new(), calls: 0 }
    }

    fn arrive(&mut self, piece: &[u8], framing: &mut dyn Framing) -> Result<(), FrameError> {
        self.waiting.extend_from_slice(piece);
        while !self.waiting.is_empty() && self.waiting.len() >= self.need {
            self.need = 0;
            self.calls += 1;
            match framing.first(&self.waiting)? {
                Found::Frame { payload, used } => {
                    self.frames.push(payload.to_vec());
                    self.waiting.drain(..used);
                }
                Found::Incomplete { need } => {
                    assert!(need > self.waiting.len(), "it needs more than it was shown");
                    self.need = need;
                }
            }
        }
        Ok(())
    }
}

fn one_a_call(pieces: &[Vec<u8>], mut framing: Box<dyn Framing>) -> Outcome {
    let mut shown = Shown::new();
    let failure = pieces.iter().find_map(|piece| shown.arrive(piece, &mut *framing).err());
    (shown.frames, failure.map_or(Ok(shown.waiting), Err))
}

/// The same with `Frames`, by a handler that can answer only so many frames in each call.
fn some_a_call(pieces: &[Vec<u8>], mut framing: Box<dyn Framing>, answers_max: usize) -> Outcome {
    let (mut waiting, mut all) = (Vec::new(), Vec::new());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            let mut frames = Frames::new(&mut *framing, &waiting);
            let taken: Vec<_> = frames.by_ref().take(answers_max).collect();
            let used = frames.used();
            assert_eq!(frames.rest(), &waiting[used..]);
            for frame in &taken {
                match frame {
                    Ok(frame) => all.push(frame.to_vec()),
                    Err(error) => return (all, Err(*error)),
                }
            }
            let is_all = taken.len() < answers_max;
            waiting.drain(..used);
            if is_all {
                break;
            }
        }
    }
    (all, Ok(waiting))
}

/// All formats, by their limit.
fn formats() -> [fn(usize) -> Box<dyn Framing>; 10] {
    [
        |limit| Box::new(Lines::new(limit)),
        |limit| Box::new(Delimited::new([b'\n'], limit)),
        |limit| Box::new(Delimited::new(b"\r\n", limit)),
        |limit| Box::new(Delimited::new(b"\n\n\r", limit)),
        |limit| Box::new(LengthPrefixed::u8(limit)),
        |limit| Box::new(LengthPrefixed::u16_be(limit)),
        |limit| Box::new(LengthPrefixed::u16_le(limit)),
        |limit| Box::new(LengthPrefixed::u32_be(limit)),
        |limit| Box::new(LengthPrefixed::u32_le(limit)),
        |limit| Box::new(LengthPrefixed::varint(limit)),
    ]
}

/// Bytes in pieces of any length, of an alphabet in which delimiters and short lengths are common.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let byte = prop_oneof![8 => prop::sample::select(&b"\n\n\r\r\0\0\0\x01\x02\x80"[..]), 1 => any::<u8>()];
    prop::collection::vec(prop::collection::vec(byte, 0..12), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_come_to_the_same_however_they_are_cut(pieces in pieces(), limit in 0usize..12, answers_max in 1usize..4) {
        let whole = [pieces.concat()];
        let bytewise: Vec<_> = whole[0].iter().map(|byte| vec![*byte]).collect();
        for format in formats() {
            let expected = one_a_call(&whole, format(limit));
            prop_assert!(expected.0.iter().all(|frame| frame.len() <= limit));
            for cut in [&pieces, &bytewise] {
                prop_assert_eq!(&one_a_call(cut, format(limit)), &expected);
                prop_assert_eq!(&some_a_call(cut, format(limit), answers_max), &expected);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back_or_refused_for_a_reason(
        payload in prop::collection::vec(prop::collection::vec(prop::sample::select(&b"\n\r\0a"[..]), 0..4), 0..10),
        limit in 0usize..40,
    ) {
        let slices: Vec<&[u8]> = payload.iter().map(Vec::as_slice).collect();
        let whole = payload.concat();
        let delimiters: [&'static [u8]; 5] = [b"\n", b"\r\n", b"\n\n", b"\n\n\r", b"\r\n\r\n"];
        for delimiter in delimiters {
            let written = written(|write| Delimited::new(delimiter, limit).write(&slices, write));
            let stream = [&whole[..], delimiter].concat();
            let first = stream.windows(delimiter.len()).position(|window| window == delimiter);
            prop_assert_eq!(written, expected(&whole, limit, first == Some(whole.len()), stream));
        }
        let is_line = !whole.contains(&b'\n') && !whole.ends_with(b"\r");
        for (end, crlf) in [(&b"\n"[..], false), (&b"\r\n"[..], true)] {
            let lines = Lines::new(limit);
            let written = written(|write| if crlf { lines.write_crlf(&slices, write) } else { lines.write(&slices, write) });
            let stream = [&whole[..], end].concat();
            if let Ok(written) = &written {
                prop_assert_eq!(one_a_call(std::slice::from_ref(written), Box::new(lines)), (vec![whole.clone()], Ok(vec![])));
            }
            prop_assert_eq!(written, expected(&whole, limit, is_line, stream));
        }
        for prefixed in prefixed(limit) {
            match written(|write| prefixed.write(&slices, write)) {
                Ok(written) => prop_assert_eq!(one_a_call(&[written], Box::new(prefixed)), (vec![whole.clone()], Ok(vec![]))),
                Err(error) => prop_assert_eq!(error, FrameError::PayloadTooLong { limit, length: whole.len() }),
            }
        }
    }

    #[test]
    fn a_varint_is_read_back_whatever_its_length(length in any::<usize>(), shift in 0u32..64) {
        let length = length.checked_shr(shift).unwrap_or(0);
        let frames = LengthPrefixed::varint(usize::MAX);
        let head = frames.head(length).expect("no limit");
        let need = length.saturating_add(head.len());
        let found = if length == 0 { Found::Frame { payload: &[], used: 1 } } else { Found::Incomplete { need } };
        prop_assert_eq!(frames.first(&head), Ok(found));
        for short in 0..head.len() {
            prop_assert_eq!(frames.first(&head[..short]), Ok(Found::Incomplete { need: short + 1 }));
        }
        if length > 0 {
            let error = FrameError::TooLong { limit: length - 1, length: Some(length as u64) };
            prop_assert_eq!(LengthPrefixed::varint(length - 1).first(&head), Err(error));
        }
    }

    #[test]
    fn each_byte_of_a_line_is_looked_at_once_however_it_is_cut(pieces in pieces()) {
        let total: usize = pieces.iter().map(Vec::len).sum();
        let (mut lines, mut delimited) = (Lines::new(1000), Delimited::new(b"\n\n\r", 1000));
        let (mut of_lines, mut of_delimited) = (Shown::new(), Shown::new());
        for piece in &pieces {
            of_lines.arrive(piece, &mut lines).expect("below the limit");
            of_delimited.arrive(piece, &mut delimited).expect("below the limit");
        }
        prop_assert_eq!((lines.search.looked, delimited.looked()), (total, total));

        let (mut lines, mut waiting) = (Lines::new(1000), Vec::new());
        for piece in &pieces {
            waiting.extend_from_slice(piece);
            let mut frames = lines.frames(&waiting);
            frames.by_ref().for_each(drop);
            let used = frames.used();
            waiting.drain(..used);
        }
        prop_assert!(lines.search.looked <= 2 * total, "{} looks at {total} bytes", lines.search.looked);
    }
}

fn prefixed(limit: usize) -> [LengthPrefixed; 6] {
    [
        LengthPrefixed::u8(limit),
        LengthPrefixed::u16_be(limit),
        LengthPrefixed::u16_le(limit),
        LengthPrefixed::u32_be(limit),
        LengthPrefixed::u32_le(limit),
        LengthPrefixed::varint(limit),
    ]
}

/// What a writer hands to a sink, in one call.
fn written(
    write: impl FnOnce(&mut dyn FnMut(&[&[u8]]) -> Result<(), FrameError>) -> Result<(), FrameError>,
) -> Result<Vec<u8>, FrameError> {
    let mut calls = Vec::new();
    write(&mut |slices| {
        assert!(slices.iter().all(|slice| !slice.is_empty()));
        calls.push(slices.concat());
        Ok(())
    })?;
    assert_eq!(calls.len(), 1, "one frame, one call");
    Ok(calls.remove(0))
}

fn expected(payload: &[u8], limit: usize, is_frame: bool, stream: Vec<u8>) -> Result<Vec<u8>, FrameError> {
    match payload.len() {
        length if length > limit => Err(FrameError::PayloadTooLong { limit, length }),
        _ if !is_frame => Err(FrameError::PayloadHasDelimiter),
        _ => Ok(stream),
    }
}

#[test]
fn a_long_line_that_comes_byte_by_byte_costs_one_look_a_byte() {
    const BYTES: usize = 20_000;
    let line = [&vec![b'a'; BYTES - 1][..], b"\n"].concat();
    let mut lines = Lines::new(BYTES);
    for end in 1..BYTES {
        assert_eq!(lines.first(&line[..end]), Ok(Found::Incomplete { need: end + 1 }));
    }
    assert_eq!(lines.first(&line), Ok(Found::Frame { payload: &line[..BYTES - 1], used: BYTES }));
    assert_eq!(lines.search.looked, BYTES);
}

#[test]
fn a_frame_with_a_length_is_asked_for_twice_however_it_is_cut() {
    let frame = [&1000u32.to_be_bytes()[..], &[7; 1000]].concat();
    let mut shown = Shown::new();
    for byte in &frame {
        shown.arrive(&[*byte], &mut LengthPrefixed::u32_be(1000)).expect("within the limit");
    }
    // The first byte, the whole prefix, the whole frame.
    assert_eq!((shown.calls, shown.frames.len()), (3, 1));
}

#[test]
fn no_more_than_the_limit_is_searched_of_a_line_that_never_ends() {
    let flood = vec![b'a'; 100_000];
    let mut lines = Lines::new(10);
    assert_eq!(lines.first(&flood), Err(FrameError::TooLong { limit: 10, length: None }));
    assert_eq!(lines.search.looked, 12);
}

#[test]
fn a_line_of_the_limit_may_end_with_either_line_end() {
    let too_long = Err(FrameError::TooLong { limit: 3, length: None });
    for (text, found) in [
        (&b"abc\n"[..], Ok(Found::Frame { payload: b"abc", used: 4 })),
        (b"abc\r\n", Ok(Found::Frame { payload: b"abc", used: 5 })),
        (b"abc\r", Ok(Found::Incomplete { need: 5 })),
        (b"abc\r\r\n", too_long),
        (b"abc\rd", too_long),
        (b"abcd", too_long),
        (b"abcd\n", too_long),
        (b"\n", Ok(Found::Frame { payload: b"", used: 1 })),
        (b"a\rb\n", Ok(Found::Frame { payload: b"a\rb", used: 4 })),
    ] {
        assert_eq!(Lines::new(3).first(text), found, "{}", text.escape_ascii());
    }
}

#[test]
fn frames_that_are_shown_again_are_found_again() {
    let mut lines = Lines::new(100);
    let data = b"one\ntwo\nand the beginning of another";
    let collected: Vec<_> = lines.frames(data).collect();
    assert_eq!(collected, [Ok(&b"one"[..]), Ok(b"two")]);
    // Nothing was used of it after all, since the answers had no room.
    assert_eq!(lines.first(data), Ok(Found::Frame { payload: b"one", used: 4 }));
}

#[test]
fn a_delimited_frame_of_the_limit_is_taken_and_a_longer_one_is_refused_at_once() {
    let too_long = Err(FrameError::TooLong { limit: 3, length: None });
    for (text, found) in [
        (&b"abc--"[..], Ok(Found::Frame { payload: b"abc", used: 5 })),
        (b"abc-", Ok(Found::Incomplete { need: 5 })),
        (b"abc-d", too_long),
        (b"abcd--", too_long),
        (b"--", Ok(Found::Frame { payload: b"", used: 2 })),
        (b"a---", Ok(Found::Frame { payload: b"a", used: 3 })),
    ] {
        assert_eq!(Delimited::new(b"--", 3).first(text), found, "{}", text.escape_ascii());
    }
}

#[test]
fn a_limit_beyond_what_a_prefix_can_say_is_the_largest_length() {
    assert_eq!(LengthPrefixed::u8(1000).limit(), 255);
    assert_eq!(LengthPrefixed::u16_le(1 << 20).limit(), 65_535);
    assert_eq!(LengthPrefixed::u32_be(usize::MAX).limit() as u64, u64::from(u32::MAX).min(usize::MAX as u64));
    assert_eq!(LengthPrefixed::u8(1000).head(256), Err(FrameError::PayloadTooLong { limit: 255, length: 256 }));
}

#[test]
fn a_varint_of_more_than_64_bits_is_refused_and_one_with_needless_bytes_is_read() {
    let frames = LengthPrefixed::varint(10);
    let tenth = |last| [&[0xff; 9][..], &[last]].concat();
    assert_eq!(frames.first(&tenth(2)), Err(FrameError::Malformed { why: "a length of more than 64 bits" }));
    assert_eq!(frames.first(&tenth(0x80)), Err(FrameError::Malformed { why: "a length of more than 64 bits" }));
    assert_eq!(frames.first(&tenth(1)), Err(FrameError::TooLong { limit: 10, length: Some(u64::MAX) }));
    assert_eq!(frames.first(&[0x81, 0x80, 0, b'a']), Ok(Found::Frame { payload: b"a", used: 4 }));
}

#[test]
fn a_fault_ends_the_frames_and_stays_one() {
    let mut frames = LengthPrefixed::u8(3).frames(&[1, b'a', 4, 0, 0, 0, 0]);
    assert_eq!(frames.next(), Some(Ok(&b"a"[..])));
    assert_eq!(frames.next(), Some(Err(FrameError::TooLong { limit: 3, length: Some(4) })));
    assert_eq!((frames.next(), frames.used(), frames.need()), (None, 2, 0));
}
