//! What clients tell, and how much of it is kept: counters, gauges and timers by name.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// How much is shown of a line that says nothing, in bytes.
const SHOWN_BYTES_MAX: usize = 60;

/// What is known of one name.
enum Metric {
    Counter { count: f64 },
    Gauge { value: f64 },
    Timer { count: f64, sum: f64, min: f64, max: f64 },
}

/// What one line says.
enum Change {
    Count(f64),
    Set(f64),
    Move(f64),
    /// A time in milliseconds, and how many it stands for.
    Time(f64, f64),
}

pub(crate) struct Metrics {
    names_max: usize,
    names: BTreeMap<String, Metric>,
    datagrams: u64,
    lines: u64,
    malformed: u64,
    /// The beginning of the last malformed line.
    shown: String,
    overflow: u64,
    /// What the kernel had no room for since the start.
    pub(crate) dropped: u64,
}

impl Metrics {
    pub(crate) fn new(names_max: usize) -> Metrics {
        let (names, shown) = (BTreeMap::new(), String::new());
        Metrics { names_max, names, datagrams: 0, lines: 0, malformed: 0, shown, overflow: 0, dropped: 0 }
    }

    /// Takes all lines of a datagram.
    pub(crate) fn take(&mut self, datagram: &[u8]) {
        self.datagrams += 1;
        for line in datagram.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
            self.lines += 1;
            let told = std::str::from_utf8(line).ok().and_then(parse);
            if !told.is_some_and(|(name, change)| self.apply(name, &change)) {
                self.malformed += 1;
                self.shown = line[..line.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string();
            }
        }
    }

    /// Whether the change makes sense: a name is of one kind.
    fn apply(&mut self, name: &str, change: &Change) -> bool {
        if !self.names.contains_key(name) {
            if self.names.len() >= self.names_max {
                self.overflow += 1;
                return true;
            }
            self.names.insert(name.to_owned(), Metric::new(change));
        }
        self.names.get_mut(name).is_some_and(|metric| metric.apply(change))
    }

    /// What came since the last report, which is `elapsed` ago; empty if nothing did. Gauges keep their values, counters
    /// and timers begin anew.
    pub(crate) fn report(&mut self, elapsed: Duration) -> String {
        let mut told = String::new();
        if self.datagrams == 0 {
            return told;
        }
        let _ = write!(told, "--- datagrams {}, lines {}, malformed {}", self.datagrams, self.lines, self.malformed);
        if self.malformed > 0 {
            let _ = write!(told, " (the last: {})", self.shown);
        }
        let _ = writeln!(told, ", dropped by the kernel so far {}", self.dropped);
        for (name, metric) in &self.names {
            let _ = writeln!(told, "{name:<30} {}", metric.told(elapsed));
        }
        if self.overflow > 0 {
            let overflow = Metric::Counter { count: self.overflow as f64 };
            let _ = writeln!(told, "{:<30} {}", "statsd.overflow", overflow.told(elapsed));
        }
        (self.datagrams, self.lines, self.malformed, self.overflow) = (0, 0, 0, 0);
        self.names.retain(|_, metric| matches!(metric, Metric::Gauge { .. }));
        told
    }
}

impl Metric {
    fn new(change: &Change) -> Metric {
        match change {
            Change::Count(_) => Metric::Counter { count: 0.0 },
            Change::Set(_) | Change::Move(_) => Metric::Gauge { value: 0.0 },
            Change::Time(..) => Metric::Timer { count: 0.0, sum: 0.0, min: f64::MAX, max: f64::MIN },
        }
    }

    fn apply(&mut self, change: &Change) -> bool {
        match (self, change) {
            (Metric::Counter { count }, Change::Count(by)) => *count += by,
            (Metric::Gauge { value }, Change::Set(to)) => *value = *to,
            (Metric::Gauge { value }, Change::Move(by)) => *value += by,
            (Metric::Timer { count, sum, min, max }, Change::Time(time, weight)) => {
                *count += weight;
                *sum += time * weight;
                (*min, *max) = (min.min(*time), max.max(*time));
            }
            _ => return false,
        }
        true
    }

    fn told(&self, elapsed: Duration) -> String {
        match self {
            Metric::Counter { count } => {
                format!("counter {} ({:.1} a second)", rounded(*count), count / elapsed.as_secs_f64())
            }
            Metric::Gauge { value } => format!("gauge {}", rounded(*value)),
            Metric::Timer { count, sum, min, max } => {
                let [count, min, mean, max] = [*count, *min, sum / count, *max].map(rounded);
                format!("timer {count} times, min {min} mean {mean} max {max} ms")
            }
        }
    }
}

/// As many digits as tell something, so that 0.1 + 0.2 is 0.3.
fn rounded(number: f64) -> f64 {
    let rounded = (number * 1e6).round() / 1e6;
    if rounded.is_finite() { rounded } else { number }
}

/// Reads `NAME:VALUE|KIND` or `NAME:VALUE|KIND|@RATE`; `None` if it is neither.
fn parse(line: &str) -> Option<(&str, Change)> {
    let (name, rest) = line.split_once(':')?;
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    let mut fields = rest.split('|');
    let (value, kind, rate) = (fields.next()?, fields.next()?, fields.next());
    let rate = rate.map_or(Some(1.0), |rate| number(rate.strip_prefix('@')?));
    let rate = rate.filter(|rate| *rate >= RATE_MIN && *rate <= 1.0)?;
    if !is_name || fields.next().is_some() {
        return None;
    }
    let number = number(value)?;
    let change = match kind {
        "c" => Change::Count(number / rate),
        "g" if value.starts_with(['+', '-']) => Change::Move(number),
        "g" => Change::Set(number),
        "ms" if number >= 0.0 => Change::Time(number, 1.0 / rate),
        _ => return None,
    };
    Some((name, change))
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.abs() <= NUMBER_MAX)
}

/// Larger numbers and smaller rates are refused: no sum of what is taken comes near infinity.
const NUMBER_MAX: f64 = 1e15;
const RATE_MIN: f64 = 1e-9;
