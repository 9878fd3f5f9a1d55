//! Fair sharing as one writes it first: quantities by name in hash maps, everybody's share anew and everybody sorted for
//! each agent.

use super::cluster::quantities;
use std::collections::HashMap;

type Amounts = HashMap<String, f64>;

#[derive(Clone, Debug, Default)]
struct Client {
    allocated: Amounts,
    turns: u64,
}

/// The allocator.
#[derive(Clone, Debug)]
pub(super) struct Naive {
    total: Amounts,
    agents: Vec<Amounts>,
    clients: Vec<Client>,
}

impl Naive {
    /// Nothing is allocated; frameworks have had these turns.
    pub(super) fn new(agents: usize, turns: &[u64]) -> Self {
        let of = |n: usize| -> Amounts {
            #[expect(clippy::cast_precision_loss, reason = "far below 2 to the 53rd")]
            let amounts = quantities(n).map(|(name, milli)| (name.to_string(), milli as f64));
            amounts.into_iter().collect()
        };
        let agents: Vec<Amounts> = (0..agents).map(of).collect();
        let mut total = Amounts::new();
        for agent in &agents {
            add(&mut total, agent, 1.0);
        }
        let clients = turns.iter().map(|turns| Client { turns: *turns, ..Client::default() });
        Self { total, agents, clients: clients.collect() }
    }
    /// To which framework each agent goes.
    pub(super) fn cycle(&mut self) -> Vec<(usize, Amounts)> {
        (0..self.agents.len()).map(|agent| self.look(agent)).collect()
    }
    pub(super) fn look(&mut self, agent: usize) -> (usize, Amounts) {
        let mut order: Vec<(f64, u64, usize)> = self
            .clients
            .iter()
            .enumerate()
            .map(|(n, client)| (self.share(client), client.turns, n))
            .collect();
        order.sort_by(|(a, s, n), (b, t, m)| a.total_cmp(b).then(s.cmp(t)).then(n.cmp(m)));
        let (_, _, first) = order[0];
        let offer = self.agents[agent].clone();
        let client = &mut self.clients[first];
        add(&mut client.allocated, &offer, 1.0);
        client.turns += 1;
        (first, offer)
    }
    fn share(&self, client: &Client) -> f64 {
        let parts = self.total.iter().map(|(name, total)| {
            client.allocated.get(name).map_or(0.0, |allocated| allocated / total)
        });
        parts.fold(0.0, f64::max)
    }
    pub(super) fn take_back(&mut self, client: usize, agent: usize) {
        let (client, agent) = (&mut self.clients[client], &self.agents[agent]);
        add(&mut client.allocated, agent, -1.0);
    }
    /// Everything is given back; turns stay.
    pub(super) fn take_all_back(&mut self) {
        self.clients.iter_mut().for_each(|client| client.allocated.clear());
    }
}

fn add(to: &mut Amounts, what: &Amounts, sign: f64) {
    #[expect(clippy::iter_over_hash_type, reason = "a sum does not depend on the order")]
    for (name, amount) in what {
        *to.entry(name.clone()).or_default() += sign * amount;
    }
}
