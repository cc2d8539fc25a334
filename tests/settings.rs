//! Settings from files: each key in each format, each refusal, and servers that run by them.
#![cfg(feature = "serde")]

mod support;

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[cfg(not(windlass_oldest))]
#[path = "settings/canary.rs"]
mod canary;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[cfg(not(windlass_oldest))]
#[path = "settings/dumps.rs"]
mod dumps;
#[path = "settings/keys.rs"]
mod keys;
#[path = "settings/places.rs"]
mod places;
#[path = "settings/refusals.rs"]
mod refusals;
#[path = "settings/running.rs"]
mod running;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[path = "settings/secured.rs"]
mod secured;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[path = "settings/switched.rs"]
mod switched;
#[cfg(not(windlass_oldest))]
#[path = "settings/values.rs"]
mod values;

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use windlass::{ClientConfig, ServerConfig};

fn server(toml: &str) -> ServerConfig {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}\n{error}"))
}

fn client(toml: &str) -> ClientConfig {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}\n{error}"))
}

/// What is written in each format reads as the same.
fn round_trips<T: Serialize + DeserializeOwned + PartialEq + Debug>(config: &T) {
    let text = toml::to_string(config).expect("TOML");
    assert_eq!(&toml::from_str::<T>(&text).expect("what was written"), config, "{text}");
    let text = serde_json::to_string(config).expect("JSON");
    assert_eq!(&serde_json::from_str::<T>(&text).expect("what was written"), config, "{text}");
    yaml_round_trips(config);
}

#[cfg(not(windlass_oldest))]
fn yaml_round_trips<T: Serialize + DeserializeOwned + PartialEq + Debug>(config: &T) {
    let text = serde_saphyr::to_string(config).expect("YAML");
    assert_eq!(&serde_saphyr::from_str::<T>(&text).expect("what was written"), config, "{text}");
}

/// The reader of YAML needs a newer Rust than the oldest: what takes it is left out there.
#[cfg(windlass_oldest)]
fn yaml_round_trips<T>(_: &T) {}
