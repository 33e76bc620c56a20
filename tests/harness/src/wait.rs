//! Waiting for something to become true, with a deadline.

use std::time::Duration;

use anyhow::{Result, anyhow};

/// Pause between two probes: short enough not to be felt, long enough to leave
/// the processor to what is being waited for.
const PAUSE: Duration = Duration::from_millis(10);

/// Probes until there is an answer; the error names `what` did not come.
///
/// A probe that hangs is cut off at the deadline too.
// Not AsyncFnMut: nothing that awaits one can be spawned (rust-lang/rust#139475).
pub async fn until<T, P>(deadline: Duration, what: &str, mut probe: impl FnMut() -> P) -> Result<T>
where
    P: Future<Output = Option<T>>,
{
    let poll = async {
        loop {
            if let Some(answer) = probe().await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(deadline, poll)
        .await
        .map_err(|_| anyhow!("waited {deadline:?} in vain for {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn probes_until_there_is_an_answer() {
        let mut left = 3;
        let answer = until(Duration::from_secs(5), "three probes", || {
            left -= 1;
            std::future::ready((left == 0).then_some("done"))
        });
        assert_eq!(answer.await.unwrap(), "done");
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_cut_off_and_named() {
        let never = until(Duration::from_millis(30), "the moon", async || {
            std::future::pending::<Option<()>>().await
        });
        let error = never.await.unwrap_err().to_string();
        assert!(error.contains("the moon"), "{error}");
    }

    #[tokio::test]
    async fn can_be_spawned() {
        let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let task = tokio::spawn(async move {
            until(Duration::from_secs(1), "the flag", async || {
                tokio::task::yield_now().await;
                flag.load(std::sync::atomic::Ordering::Relaxed).then_some(())
            })
            .await
        });
        task.await.unwrap().unwrap();
    }
}
