//! A receiver of this crate: it counts, and answers questions.

use windlass::{Address, Datagram, DatagramConfig, DatagramHandler, Datagrams, Offload, Reactor, ReactorConfig};

use crate::rig::Outcome;
use crate::tally::Tally;

struct Receiver(Tally);

impl DatagramHandler for Receiver {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        if let Some(question) = self.0.take(datagram.data) {
            self.0.dropped = sock.stats().dropped_by_kernel;
            // An answer that is not sent is asked for again.
            let _asked_again = sock.send_to(datagram.from, &self.0.answer(question));
        }
    }
}

/// Receives until it is killed. Arguments: `[--gro on] [--receive-buffer BYTES] --listen ADDRESS`.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let (mut config, mut address) = (DatagramConfig::default(), None);
    for pair in arguments.chunks(2) {
        match pair {
            [option, value] if option == "--gro" && value == "on" => config.gro = Offload::On,
            [option, value] if option == "--receive-buffer" => {
                config.socket.receive_buffer_bytes = Some(value.parse()?);
            }
            [option, value] if option == "--listen" => {
                address = Some(value.parse::<Address>()?);
            }
            _ => return Err(format!("unknown option: {pair:?}").into()),
        }
    }
    let address = address.ok_or("a receiver wants --listen ADDRESS")?;
    let id = reactor.bind(&address, config, Receiver(Tally::default()))?;
    println!("listening on {}", reactor.endpoint_address(id).ok_or("the socket is gone")?);
    reactor.run()?;
    Ok(())
}
