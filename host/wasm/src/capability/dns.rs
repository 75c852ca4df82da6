//! `dns`: one question, through the worker's resolver or a named server.

use super::{Answer, convert};
use crate::{
    abi::v1::wit::{
        dns::{Answer as Record, Host, Reply},
        net_types::Endpoint,
    },
    guest::Guest,
    rights::Right,
};
use lapwing_checks::net::{NetError, dns};

impl Host for Guest {
    async fn query(
        &mut self,
        name: String,
        rtype: String,
        server: Option<Endpoint>,
        timeout: u64,
    ) -> Answer<Reply> {
        let begun = self.call_begins("dns.query", || match &server {
            Some(server) => format!("{name} {rtype} of {}:{}", server.host, server.port),
            None => format!("{name} {rtype}"),
        });
        let answer = self.ask(name, rtype, server, timeout).await?;
        self.call_ends(begun, &answer, |reply| {
            format!("rcode {}, {} answers", reply.rcode, reply.answers.len())
        });
        Ok(answer)
    }
}

impl Guest {
    async fn ask(
        &mut self,
        name: String,
        rtype: String,
        server: Option<Endpoint>,
        timeout: u64,
    ) -> Answer<Reply> {
        let net = match self
            .permit(Right::Dns)
            .and_then(|net| self.take_question().map(|()| net))
        {
            Ok(net) => net,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let step = NetError::DnsTimeout(name.clone());
        let work = move |deadline| async move {
            let server = server.as_ref().map(|server| (server.host.as_str(), server.port));
            net.query(&name, &rtype, server, deadline).await
        };
        let done = self.on_network(step, timeout, work).await?;
        self.ledger.spend("resolve", done.elapsed);
        Ok(self.settle(done)?.map(reply))
    }
}

fn reply(reply: dns::Reply) -> Reply {
    let record = |record: dns::Record| Record {
        name: record.name,
        ttl: record.ttl,
        rtype: record.rtype,
        data: record.data,
    };
    Reply {
        rcode: reply.rcode,
        authoritative: reply.authoritative,
        answers: reply.answers.into_iter().map(record).collect(),
        elapsed: convert::nanoseconds(reply.elapsed),
    }
}
