//! A book of callbacks: which came to each handler, in which order, and whether their grammar allows it.
//!
//! Owns the entries and the faults. Knows no grammar of its own: a word tells what may follow what. Faults are kept and
//! told later, since a panic in a callback would be taken for the handler's own.

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;

/// How far a handler is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Made,
    Open,
    /// Only a part of its grammar may still come.
    Ending,
    Panicked,
    Closed,
}

/// One callback, as it is recorded.
pub trait Word: Copy + Debug {
    /// What the handler belongs to.
    type Id: Copy + PartialEq + Debug;

    /// How far a handler is after this word, if it may come to one that is so far.
    fn next(self, at: At) -> Option<At>;
}

/// What is known of one handler.
pub struct Entry<W: Word> {
    pub at: At,
    /// Known from its first callback on.
    pub id: Option<W::Id>,
    pub words: Vec<W>,
    leave: Leave,
}

/// When a handler may be dropped without having been told of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Never,
    /// It was set to take over, and never did.
    Unopened,
    /// Another one has taken over.
    Replaced,
}

struct Pages<W: Word> {
    entries: Vec<Entry<W>>,
    inside: Option<usize>,
    faults: Vec<String>,
}

/// The callbacks of all handlers of a world, which are numbered from 0 in the order in which they were made.
pub struct Book<W: Word>(Rc<RefCell<Pages<W>>>);

impl<W: Word> Clone for Book<W> {
    fn clone(&self) -> Book<W> {
        Book(self.0.clone())
    }
}

impl<W: Word> Default for Book<W> {
    fn default() -> Book<W> {
        Book(Rc::new(RefCell::new(Pages { entries: Vec::new(), inside: None, faults: Vec::new() })))
    }
}

impl<W: Word> Book<W> {
    /// Opens an entry for a handler that was made, and tells its number.
    pub fn add(&self) -> usize {
        let entries = &mut self.0.borrow_mut().entries;
        entries.push(Entry { at: At::Made, id: None, words: Vec::new(), leave: Leave::Never });
        entries.len() - 1
    }

    /// The handler whose callback is running is followed by that of `serial`.
    pub fn succeed(&self, serial: usize) {
        let mut pages = self.0.borrow_mut();
        let before = pages.inside.expect("a callback");
        pages.entries[before].leave = Leave::Replaced;
        pages.entries[serial].leave = Leave::Unopened;
    }

    /// A handler was dropped.
    pub fn dropped(&self, serial: usize) {
        let entry = &mut self.0.borrow_mut().entries[serial];
        let may_leave = match entry.leave {
            Leave::Never => false,
            Leave::Unopened => entry.at == At::Made,
            Leave::Replaced => true,
        };
        if may_leave {
            entry.at = At::Closed;
        }
    }

    /// Reads one entry.
    pub fn with<T>(&self, serial: usize, read: impl FnOnce(&Entry<W>) -> T) -> T {
        read(&self.0.borrow().entries[serial])
    }

    /// How many handlers there are or were of which this is true.
    pub fn count(&self, is: impl Fn(&Entry<W>) -> bool) -> usize {
        self.0.borrow().entries.iter().filter(|entry| is(entry)).count()
    }

    /// Whoever begins the end of an open one says so here, so that what follows is held to it.
    pub fn begin_end(&self, id: W::Id) {
        for entry in &mut self.0.borrow_mut().entries {
            if entry.id == Some(id) && entry.at == At::Open {
                entry.at = At::Ending;
            }
        }
    }

    /// Keeps a fault of one handler, which [`Book::check`] tells.
    pub fn fault(&self, serial: usize, what: &str) {
        self.0.borrow_mut().faults.push(format!("handler {serial}: {what}"));
    }

    /// Fails the test if a callback came that the grammar does not allow.
    pub fn check(&self) {
        assert_eq!(self.0.borrow().faults, Vec::<String>::new(), "the callback grammar was broken");
    }

    /// Fails the test if a handler was not told `on_close`, too.
    pub fn check_over(&self) {
        self.check();
        for (serial, entry) in self.0.borrow().entries.iter().enumerate() {
            assert_eq!(entry.at, At::Closed, "handler {serial} was never told on_close: {:?}", entry.words);
        }
    }

    /// Writes down a callback that begins; it lasts as long as what is returned.
    pub fn enter(&self, serial: usize, word: W, id: W::Id) -> Visit<W> {
        let mut pages = self.0.borrow_mut();
        if let Some(other) = pages.inside.replace(serial) {
            pages.faults.push(format!("{word:?} of {serial} is nested in a callback of {other}"));
        }
        let entry = &mut pages.entries[serial];
        let next = word.next(entry.at).filter(|_| entry.id.is_none_or(|known| known == id));
        entry.id = Some(id);
        entry.words.push(word);
        match next {
            Some(next) => entry.at = next,
            None => {
                let fault = format!("handler {serial} in {:?} of {id:?}: {:?}", entry.at, entry.words);
                pages.faults.push(fault);
            }
        }
        Visit { book: self.clone(), serial }
    }
}

/// A callback that is running.
pub struct Visit<W: Word> {
    book: Book<W>,
    serial: usize,
}

impl<W: Word> Drop for Visit<W> {
    fn drop(&mut self) {
        let mut pages = self.book.0.borrow_mut();
        pages.inside = None;
        let at = &mut pages.entries[self.serial].at;
        if std::thread::panicking() && *at != At::Closed {
            *at = At::Panicked;
        }
    }
}
