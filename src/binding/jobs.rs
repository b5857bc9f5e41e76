//! Work that would hold up the loop: it runs on a tokio runtime and comes back as a call on the JavaScript thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};

use napi::sys;
use tokio::runtime::{Builder, Handle, Runtime};

use super::environment::Environment;
use super::raw::{check, report_exception, throw, Fault, Outcome};

/// What is left to do on the JavaScript thread when a job is done.
pub type Completion = Box<dyn FnOnce(&Environment) + Send>;

/// The most threads that jobs of one environment use.
pub const MAX_THREADS: usize = 4;

/// The jobs of one environment. The runtime and the way back are made with the first job.
#[derive(Default)]
pub struct Jobs {
    runtime: RefCell<Option<Runtime>>,
    /// Whether the system has refused to start the runtime's threads.
    has_no_threads: Cell<bool>,
    wake: Cell<sys::napi_threadsafe_function>,
    done: Arc<Mutex<VecDeque<Completion>>>,
    outstanding: Cell<usize>,
}

/// Memory that jobs have used, for the next ones. Allocated on one thread and freed on another, again and again, it would
/// take both of them longer than what it holds takes to copy.
#[derive(Default)]
pub struct JobMemory(RefCell<Vec<Vec<u8>>>);

impl JobMemory {
    /// As many as the jobs that are under way by default, each with its data and its result, can use.
    const MOST: usize = 20;
    /// In bytes; more is given back.
    const LARGEST: usize = 64 * 1024;

    /// Gives empty memory away.
    pub fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps memory for another job.
    pub fn give(&self, mut memory: Vec<u8>) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < Self::MOST && (1..=Self::LARGEST).contains(&memory.capacity()) {
            memory.clear();
            kept.push(memory);
        }
    }

    /// Gives it all back.
    pub fn clear(&self) {
        self.0.take();
    }
}

/// The wake-up call, which any thread may use.
struct Wake(sys::napi_threadsafe_function);
// SAFETY: a thread-safe function is made to be called from any thread. It is released in `Jobs::shut_down`, after
// the runtime, whose threads are the only other users. Node may close it before that, when the environment goes down: its
// own hook was added later, so it runs earlier. But it frees nothing before the function is released, and until then calls
// of a function that is closing do nothing but say so.
unsafe impl Send for Wake {}

impl Wake {
    fn call(self) {
        // SAFETY: see above. A closing function drops the wake-up, and nobody waits for it then.
        unsafe {
            sys::napi_call_threadsafe_function(
                self.0,
                ptr::null_mut(),
                sys::ThreadsafeFunctionCallMode::nonblocking,
            )
        };
    }
}

fn lock(queue: &Mutex<VecDeque<Completion>>) -> MutexGuard<'_, VecDeque<Completion>> {
    queue
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Jobs {
    /// Runs `work` on the runtime and what it returns on the JavaScript thread. Where there is no runtime to be had, `work` is
    /// done at once, on this thread.
    pub fn spawn(
        &self,
        environment: &Rc<Environment>,
        work: impl FnOnce() -> Completion + Send + 'static,
    ) -> Outcome<()> {
        let (wake, runtime) = (self.wake_up(environment)?, self.runtime());
        if self.outstanding.replace(self.outstanding.get() + 1) == 0 {
            // SAFETY: the function lives until `shut_down`. A job under way keeps the process alive.
            unsafe { sys::napi_ref_threadsafe_function(environment.env, wake) };
        }
        let (wake, done) = (Wake(wake), Arc::clone(&self.done));
        let job = move || {
            let completion = catch_unwind(AssertUnwindSafe(work));
            let completion = completion.unwrap_or_else(|_panic| Box::new(tell_of_panic));
            lock(&done).push_back(completion);
            wake.call();
        };
        match runtime {
            Some(runtime) => drop(runtime.spawn(async move { job() })),
            None => job(),
        }
        Ok(())
    }

    /// The runtime, for work of which nobody waits for the end, if the system has threads for it.
    pub fn runtime(&self) -> Option<Handle> {
        let mut runtime = self.runtime.borrow_mut();
        if runtime.is_none() && !self.has_no_threads.get() {
            *runtime = start();
            // Not tried again: it takes long, and each time somebody would read of it on standard error.
            self.has_no_threads.set(runtime.is_none());
        }
        Some(runtime.as_ref()?.handle().clone())
    }

    fn wake_up(&self, environment: &Rc<Environment>) -> Outcome<sys::napi_threadsafe_function> {
        if self.wake.get().is_null() {
            let env = environment.env;
            let mut name = ptr::null_mut();
            let mut wake = ptr::null_mut();
            // SAFETY: all pointers are valid for the calls; the context outlives the function, because
            // `shut_down` releases it before the environment is freed.
            let status = unsafe {
                sys::napi_create_string_utf8(env, c"oxws.jobs".as_ptr(), 9, &mut name);
                sys::napi_create_threadsafe_function(
                    env,
                    ptr::null_mut(),
                    ptr::null_mut(),
                    name,
                    0,
                    1,
                    ptr::null_mut(),
                    None,
                    Rc::as_ptr(environment).cast_mut().cast::<c_void>(),
                    Some(complete),
                    &mut wake,
                )
            };
            check(status, "cannot start the runtime")?;
            // SAFETY: it was just made. It holds the loop only while jobs are outstanding.
            unsafe { sys::napi_unref_threadsafe_function(env, wake) };
            self.wake.set(wake);
        }
        Ok(self.wake.get())
    }

    /// Waits for the job each thread is busy with and ends the runtime; completions are dropped.
    pub fn shut_down(&self) {
        drop(self.runtime.borrow_mut().take());
        let wake = self.wake.replace(ptr::null_mut());
        if !wake.is_null() {
            // SAFETY: the runtime's threads have ended, so nobody else uses the function any more.
            unsafe {
                sys::napi_release_threadsafe_function(
                    wake,
                    sys::ThreadsafeFunctionReleaseMode::abort,
                )
            };
        }
        lock(&self.done).clear();
    }
}

/// How many processors this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get())
}

fn start() -> Option<Runtime> {
    let build = || {
        Builder::new_multi_thread()
            .worker_threads(processors().min(MAX_THREADS))
            .thread_name("oxws-jobs")
            .build()
    };
    // tokio panics when it gets no thread.
    catch_unwind(build).ok()?.ok()
}

/// Runs on the JavaScript thread after a wake-up.
unsafe extern "C" fn complete(
    env: sys::napi_env,
    _function: sys::napi_value,
    context: *mut c_void,
    _data: *mut c_void,
) {
    if env.is_null() {
        return;
    }
    // SAFETY: the context is the environment given to `napi_create_threadsafe_function`, alive until `shut_down`.
    let environment = unsafe { &*context.cast::<Environment>() };
    let jobs = &environment.jobs;
    // One completion for one wake-up, so that ticks and microtasks run between them.
    let Some(completion) = lock(&jobs.done).pop_front() else {
        return;
    };
    let left = jobs.outstanding.get().saturating_sub(1);
    jobs.outstanding.set(left);
    if left == 0 {
        // SAFETY: as above.
        unsafe { sys::napi_unref_threadsafe_function(env, jobs.wake.get()) };
    }
    // A panic must not reach Node.
    if catch_unwind(AssertUnwindSafe(|| completion(environment))).is_err() {
        tell_of_panic(environment);
    }
}

/// In the place of a completion after a panic, which becomes an exception as in a raw function.
fn tell_of_panic(environment: &Environment) {
    let env = environment.env;
    throw(env, Fault::panic());
    // SAFETY: on the JavaScript thread, inside the scope that Node opened for this call.
    unsafe { report_exception(env, sys::Status::napi_pending_exception) };
}

/// A JavaScript function to call when a job is done.
pub struct Callback(sys::napi_ref);
// SAFETY: the reference is made and used on the JavaScript thread; other threads only carry it. Dropping it does nothing:
// whoever drops it without a call leaves the function to the end of the environment, which releases it.
unsafe impl Send for Callback {}

impl Callback {
    /// Keeps `function` until it is called.
    pub fn new(env: sys::napi_env, function: sys::napi_value) -> Outcome<Self> {
        let mut reference = ptr::null_mut();
        // SAFETY: `function` belongs to the current call.
        let status = unsafe { sys::napi_create_reference(env, function, 1, &mut reference) };
        check(status, "expected a function").map(|()| Callback(reference))
    }

    /// Calls the function. What it throws reaches `uncaughtException`, as from any other callback.
    pub fn call(self, env: sys::napi_env, arguments: &[sys::napi_value]) {
        let mut function = ptr::null_mut();
        let mut receiver = ptr::null_mut();
        // SAFETY: on the JavaScript thread, inside the scope that Node opened for this call; the reference is live
        // and deleted once.
        unsafe {
            sys::napi_get_reference_value(env, self.0, &mut function);
            sys::napi_delete_reference(env, self.0);
            sys::napi_get_undefined(env, &mut receiver);
            let status = sys::napi_call_function(
                env,
                receiver,
                function,
                arguments.len(),
                arguments.as_ptr(),
                ptr::null_mut(),
            );
            report_exception(env, status);
        }
    }
}
