//! Puts a Redis further away: `delay PORT MILLISECONDS` prints the URL of a proxy that holds each answer back so long.

#![expect(clippy::print_stdout, reason = "its answer")]

use lapwing_queue::testing::Proxy;
use std::time::Duration;

fn main() {
    let numbers: Vec<u16> = std::env::args()
        .skip(1)
        .filter_map(|number| number.parse().ok())
        .collect();
    let &[port, milliseconds] = &numbers[..] else {
        println!("usage: delay PORT MILLISECONDS");
        return;
    };
    let proxy = Proxy::start(port);
    proxy.delay(Duration::from_millis(milliseconds.into()));
    println!("{}", proxy.url());
    loop {
        std::thread::park();
    }
}
