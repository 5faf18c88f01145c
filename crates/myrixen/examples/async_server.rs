//! A server and three clients as tasks of an ordinary async runtime. `cargo run --example async_server`

use std::time::Duration;

use myrixen::{Address, EndpointOptions, Fabric, Match, Result};

const KEY: u32 = 5;
const ASK: u64 = 1;
const ANSWER: u64 = 2;
const CLIENTS: usize = 3;
const QUESTIONS: u32 = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let fabric = Fabric::connect_or_embed()?;
    let server = fabric.open(EndpointOptions::default().key(KEY))?;
    let address = server.address();

    let serving = tokio::spawn(async move {
        let mut buffer = vec![0; 64];
        for _ in 0..CLIENTS * QUESTIONS as usize {
            let (question, got) = server.recv_async(Match::exact(ASK), buffer).await?;
            let peer = server
                .connect_async(got.source, KEY, Duration::from_secs(5))
                .await?;
            let number = u32::from_le_bytes(question[..4].try_into().expect("four bytes"));
            let answer = (u64::from(number) * u64::from(number))
                .to_le_bytes()
                .to_vec();
            server.send_async(&peer, ANSWER, answer).await?;
            buffer = question;
        }
        Result::Ok(())
    });

    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let endpoint = fabric.open(EndpointOptions::default().key(KEY))?;
        clients.push(tokio::spawn(ask(endpoint, address)));
    }
    for client in clients {
        println!(
            "a client is content with {} answers",
            client.await.expect("a client panicked")?
        );
    }
    serving.await.expect("the server panicked")
}

async fn ask(endpoint: myrixen::Endpoint, server: Address) -> Result<u32> {
    let server = endpoint
        .connect_async(server, KEY, Duration::from_secs(5))
        .await?;
    for number in 0..QUESTIONS {
        endpoint
            .send_async(&server, ASK, number.to_le_bytes().to_vec())
            .await?;
        let (answer, _) = endpoint
            .recv_async(Match::exact(ANSWER), vec![0; 8])
            .await?;
        let answer = u64::from_le_bytes(answer[..8].try_into().expect("eight bytes"));
        assert_eq!(answer, u64::from(number).pow(2));
    }
    Ok(QUESTIONS)
}
