//! Independent jobs on several threads.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{io, thread};

use parking_lot::Mutex;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Returns the number of threads to use: that of [`with_threads`], else the number of cores available to
/// this process.
pub(crate) fn available() -> usize {
    match rayon::current_thread_index() {
        Some(_) => rayon::current_num_threads(),
        None => thread::available_parallelism().map_or(1, NonZeroUsize::get),
    }
}

/// Runs `work` in a pool of `threads` threads; by default one for each core.
///
/// candle has another pool for some matrix products; its size is the environment variable
/// `CANDLE_NUM_THREADS` at its first use.
///
/// # Errors
/// If the system allows no more threads.
pub fn with_threads<T: Send>(
    threads: Option<NonZeroUsize>,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    Ok(pool(threads)?.install(work))
}

/// Starts the pool of [`with_threads`], for several pieces of work.
pub(crate) fn pool(threads: Option<NonZeroUsize>) -> io::Result<ThreadPool> {
    builder(threads).build().map_err(io::Error::other)
}

/// As [`pool`], with this many bytes of stack for each thread.
pub(crate) fn pool_with_stack(
    threads: Option<NonZeroUsize>,
    stack: usize,
) -> io::Result<ThreadPool> {
    let builder = builder(threads).stack_size(stack);
    builder.build().map_err(io::Error::other)
}

fn builder(threads: Option<NonZeroUsize>) -> ThreadPoolBuilder {
    ThreadPoolBuilder::new().num_threads(threads.map_or_else(available, NonZeroUsize::get))
}

/// Runs jobs on up to `threads` threads of the pool until `next` has no more. Each thread has its own state.
pub(crate) fn each<S, J>(
    threads: usize,
    state: impl Fn() -> S + Sync,
    next: impl Fn() -> Option<J> + Sync,
    work: impl Fn(&mut S, J) + Sync,
) {
    let run = || {
        let mut state = state();
        while let Some(job) = next() {
            work(&mut state, job);
        }
    };
    rayon::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| run());
        }
        run();
    });
}

/// As [`map`], on up to `threads` threads of its own, which may wait for a network or for a pool.
pub(crate) fn map_waiting<T: Send, E: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let run = || loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        if at >= count {
            break;
        }
        let result = work(at);
        if result.is_err() {
            next.store(count, Ordering::Relaxed);
        }
        done.lock().push((at, result));
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            // If the system allows no more threads, these do the work.
            if thread::Builder::new().spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// How often [`observed`] looks.
const LOOK: Duration = Duration::from_millis(100);

/// Runs `work`, and meanwhile `look` on another thread, some times a second until it returns `Break`.
///
/// # Errors
/// If the system allows no more threads.
pub(crate) fn observed<T>(
    work: impl FnOnce() -> T,
    mut look: impl FnMut() -> ControlFlow<()> + Send,
) -> io::Result<T> {
    let (done, is_done) = mpsc::channel::<()>();
    let look = move || {
        while is_done.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) && look().is_continue() {
        }
    };
    thread::scope(|scope| {
        thread::Builder::new().spawn_scoped(scope, look)?;
        let result = work();
        drop(done);
        Ok(result)
    })
}

/// Returns the results of the jobs with the numbers below `count`, in their order, done on all threads
/// of the pool. After an error no further job starts.
pub(crate) fn map<T: Send, E: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync + Send,
) -> Result<Vec<T>, E> {
    (0..count).into_par_iter().map(work).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_jobs_run_beside_each_other_and_an_error_ends_them() {
        let waiting = std::sync::Barrier::new(3);
        let results = map_waiting(3, 3, |at| {
            waiting.wait();
            Ok::<_, ()>(at * 2)
        });
        assert_eq!(results, Ok(vec![0, 2, 4]));
        let results = map_waiting(2, 1000, |at| if at == 5 { Err(at) } else { Ok(at) });
        assert_eq!(results, Err(5));
        assert_eq!(map_waiting(2, 0, Ok::<_, ()>), Ok(vec![]));
    }

    #[test]
    fn every_job_is_done_once() {
        for threads in [1, 2, 5] {
            let jobs = Mutex::new(0..40);
            let done = Mutex::new(vec![0; 40]);
            let work = |(): &mut (), job: usize| done.lock()[job] += 1;
            each(threads, || (), || jobs.lock().next(), work);
            assert_eq!(done.into_inner(), vec![1; 40]);
        }
        let none = || None::<usize>;
        each(3, || (), none, |(), _| unreachable!("there is no job"));
    }

    #[test]
    fn work_is_observed_until_it_ends_or_breaks() {
        let looks = AtomicUsize::new(0);
        let look = || match looks.fetch_add(1, Ordering::Relaxed) {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        let work = || {
            while looks.load(Ordering::Relaxed) < 2 {
                thread::yield_now();
            }
            thread::sleep(LOOK * 3);
            7
        };
        assert_eq!(observed(work, look).unwrap(), 7);
        assert_eq!(looks.load(Ordering::Relaxed), 2);
        assert_eq!(observed(|| 8, || unreachable!("it has ended")).unwrap(), 8);
    }

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let squares = map(100, |job| Ok::<_, ()>(job * job)).unwrap();
        assert_eq!(squares, (0..100).map(|job| job * job).collect::<Vec<_>>());
        let failed = map(100, |job| if job < 60 { Ok(()) } else { Err(job) });
        assert!(failed.is_err_and(|job| job >= 60));
        assert_eq!(map(0, |_| Err::<(), _>(())), Ok(vec![]));
    }
}
