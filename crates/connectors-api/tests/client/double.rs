//! A service on loopback whose every byte the test decides, and which remembers every request and connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the double does with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Writes the bytes and waits for the next request on the connection.
    Answer(Vec<u8>),
    /// Writes the bytes and closes the connection in good order.
    AnswerAndClose(Vec<u8>),
    /// Resets the connection without a word.
    Reset,
    /// Writes the bytes one by one, this long apart, then closes.
    Drip(Vec<u8>, Duration),
    /// Waits, then does the other thing.
    After(Duration, Box<Act>),
    /// Never answers.
    Silence,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Number of its connection, from 0.
    pub(crate) connection: usize,
    /// First line without the version, such as `GET /api/v1/connectors?limit=100`.
    pub(crate) line: String,
    /// Header lines, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) struct Double {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

type Script = dyn Fn(usize, &Seen) -> Act + Send + Sync;

impl Double {
    /// Starts a double. The script gets the number of the request, from 0, and the request.
    pub(crate) async fn start(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let log = seen.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, number, script.clone(), log.clone()));
            }
        });
        Self { address, seen, task }
    }

    /// A double that does the same thing every time.
    pub(crate) async fn always(act: Act) -> Self {
        Self::start(move |_, _| act.clone()).await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, connection: usize, script: Arc<Script>, log: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer, connection).await {
        let number = {
            let mut log = log.lock().unwrap();
            log.push(request.clone());
            log.len() - 1
        };
        let mut act = script(number, &request);
        while let Act::After(wait, then) = act {
            tokio::time::sleep(wait).await;
            act = *then;
        }
        match act {
            Act::Answer(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Act::AnswerAndClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Act::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Act::Drip(bytes, every) => {
                for byte in bytes {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(every).await;
                }
                return;
            }
            Act::Silence => std::future::pending().await,
            Act::After(..) => unreachable!("waited for above"),
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize) -> Option<Seen> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
    buffer.drain(..head_end + 4);
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&buffer.drain(..length).collect::<Vec<_>>()).into_owned();
    Some(Seen { connection, line, headers, body })
}

/// An answer with these header lines and this body.
pub(crate) fn http(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut answer = format!("HTTP/1.1 {status} Something\r\ncontent-length: {}\r\n", body.len());
    for header in headers {
        answer.push_str(header);
        answer.push_str("\r\n");
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// An answer with a JSON body.
pub(crate) fn json(status: u16, body: &str) -> Vec<u8> {
    http(status, &["content-type: application/json"], body)
}
