//! Host calls that return their failure.
//!
//! The SDK's own wrappers panic on a status they do not expect, and a panic
//! kills the VM with every stream of its worker; they also cannot send a
//! response detail. So the calls on which a request depends are declared here.

use std::time::Duration;

use mesh_filters_policy::{
    Edit, Headers, HttpRequest, LocalReply, Monotonic, NotShared, Shared, UnixTime, Version,
};
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, StreamType};

/// `WasmResult::Ok` of the ABI.
const OK: u32 = 0;

/// `WasmResult::CasMismatch` of the ABI.
const CAS_MISMATCH: u32 = 8;

/// `CLOCK_MONOTONIC` of WASI preview 1.
const CLOCK_MONOTONIC: u32 = 1;

/// No `grpc-status` of our own: Envoy derives it from the HTTP status.
const NO_GRPC_STATUS: i32 = -1;

/// A host call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostError {
    /// Which call.
    pub call: &'static str,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        detail: *const u8,
        detail_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
}

fn check(call: &'static str, status: u32) -> Result<(), HostError> {
    if status == OK { Ok(()) } else { Err(HostError { call }) }
}

/// Makes a call that returns bytes.
fn read(
    call: &'static str,
    ask: impl FnOnce(*mut *mut u8, *mut usize) -> u32,
) -> Result<Vec<u8>, HostError> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size: usize = 0;
    check(call, ask(&raw mut data, &raw mut size))?;
    // SAFETY: the call succeeded, so the host wrote both.
    Ok(unsafe { take(data, size) })
}

/// Takes over what a host call returned.
///
/// # Safety
/// `data` must be null, or `size` bytes that the host allocated for this call.
unsafe fn take(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: the host gave up memory that it got from the SDK's
    // `proxy_on_memory_allocate`, which is a boxed slice of `size` bytes.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(data, size)) }.into_vec()
}

/// Reads all headers of a message in one crossing.
pub(crate) fn headers(map: MapType) -> Result<Headers, HostError> {
    const CALL: &str = "proxy_get_header_map_pairs";
    // SAFETY: both pointers are valid for writes during the call.
    let block =
        read(CALL, |data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) })?;
    Headers::from_block(block).map_err(|_| HostError { call: CALL })
}

/// Reads the first `max` bytes of a buffer.
pub(crate) fn buffer(buffer: BufferType, max: usize) -> Result<Vec<u8>, HostError> {
    read("proxy_get_buffer_bytes", |data, size| {
        // SAFETY: both pointers are valid for writes during the call.
        unsafe { proxy_get_buffer_bytes(buffer as u32, 0, max, data, size) }
    })
}

/// Reads what the host knows under that path.
pub(crate) fn property(path: &[&str]) -> Result<Vec<u8>, HostError> {
    let path = path.join("\0");
    read("proxy_get_property", |data, size| {
        // SAFETY: the pointers are valid for reads of their lengths, and for writes.
        unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }
    })
}

/// Leaves a value for later filters of the request.
pub(crate) fn set_property(name: &str, value: &[u8]) -> Result<(), HostError> {
    // SAFETY: the pointers are valid for reads of their lengths.
    let status =
        unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    check("proxy_set_property", status)
}

/// Reads what the workers share under that key.
pub(crate) fn shared(key: &str) -> Result<Shared, HostError> {
    let mut version = 0;
    let value = read("proxy_get_shared_data", |data, size| {
        // SAFETY: the pointers are valid for reads of their lengths, and for writes.
        unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version) }
    })?;
    Ok(Shared { value, version: Version(version) })
}

/// Shares a value with the other workers.
pub(crate) fn share(key: &str, value: &[u8], expected: Option<Version>) -> Result<(), NotShared> {
    // Zero asks for no comparison.
    let cas = expected.map_or(0, |version| version.0);
    // SAFETY: the pointers are valid for reads of their lengths.
    let status =
        unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) };
    match status {
        OK => Ok(()),
        CAS_MISMATCH => Err(NotShared::Changed),
        _ => Err(NotShared::Refused),
    }
}

/// Calls a function that only some hosts have, and returns its answer.
pub(crate) fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
    read("proxy_call_foreign_function", |data, size| {
        // SAFETY: the pointers are valid for reads of their lengths, and for writes.
        unsafe {
            proxy_call_foreign_function(
                name.as_ptr(),
                name.len(),
                arguments.as_ptr(),
                arguments.len(),
                data,
                size,
            )
        }
    })
}

/// Sends a request to a cluster on behalf of the current root context, and returns
/// the token by which its answer will be known.
pub(crate) fn call(request: &HttpRequest) -> Result<u32, HostError> {
    let mut headers = vec![
        (":method", request.method),
        (":scheme", request.scheme),
        (":authority", request.authority.as_str()),
        (":path", request.path.as_str()),
    ];
    headers.extend(request.headers.iter().map(|(name, value)| (*name, value.as_str())));
    let body = Some(request.body.as_slice()).filter(|body| !body.is_empty());
    // Through the SDK, which has to know the token to deliver the answer.
    hostcalls::dispatch_http_call(&request.cluster, headers, body, Vec::new(), request.timeout)
        .map_err(|_| HostError { call: "proxy_http_call" })
}

/// Lets a paused request go on.
pub(crate) fn continue_request() -> Result<(), HostError> {
    // SAFETY: takes no pointer.
    let status = unsafe { proxy_continue_stream(StreamType::HttpRequest as u32) };
    check("proxy_continue_stream", status)
}

/// Makes the calls that follow be about another context of this VM.
pub(crate) fn act_for(context: u32) -> Result<(), HostError> {
    // SAFETY: takes no pointer.
    let status = unsafe { proxy_set_effective_context(context) };
    check("proxy_set_effective_context", status)
}

/// Has the current root context ticked with that period, or no more.
pub(crate) fn set_tick_period(period: Option<Duration>) -> Result<(), HostError> {
    let millis = period.map_or(0, |period| u32::try_from(period.as_millis()).unwrap_or(u32::MAX));
    // SAFETY: takes no pointer.
    let status = unsafe { proxy_set_tick_period_milliseconds(millis) };
    check("proxy_set_tick_period_milliseconds", status)
}

/// Makes the changes to the headers of a message.
pub(crate) fn apply(map: MapType, edits: Vec<Edit>) -> Result<(), HostError> {
    let map = map as u32;
    for edit in edits {
        match edit {
            Edit::Set(name, value) => {
                // SAFETY: the pointers are valid for reads of their lengths.
                let status = unsafe {
                    proxy_replace_header_map_value(
                        map,
                        name.as_ptr(),
                        name.len(),
                        value.as_ptr(),
                        value.len(),
                    )
                };
                check("proxy_replace_header_map_value", status)?;
            }
            Edit::Append(name, value) => {
                // SAFETY: the pointers are valid for reads of their lengths.
                let status = unsafe {
                    proxy_add_header_map_value(
                        map,
                        name.as_ptr(),
                        name.len(),
                        value.as_ptr(),
                        value.len(),
                    )
                };
                check("proxy_add_header_map_value", status)?;
            }
            Edit::Remove(name) => {
                // SAFETY: the pointer is valid for reads of its length.
                let status =
                    unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) };
                check("proxy_remove_header_map_value", status)?;
            }
        }
    }
    Ok(())
}

/// Answers the client. The stream must be paused afterwards.
pub(crate) fn reply(detail: &str, reply: &LocalReply) -> Result<(), HostError> {
    let headers = header_block(&reply.headers);
    // SAFETY: the pointers are valid for reads of their lengths.
    let status = unsafe {
        proxy_send_local_response(
            u32::from(reply.status),
            detail.as_ptr(),
            detail.len(),
            reply.body.as_ptr(),
            reply.body.len(),
            headers.as_ptr(),
            headers.len(),
            reply.grpc_status.map_or(NO_GRPC_STATUS, i32::from),
        )
    };
    check("proxy_send_local_response", status)
}

/// The counterpart of [`Headers::from_block`].
fn header_block<V: AsRef<str>>(headers: &[(&'static str, V)]) -> Vec<u8> {
    // Headers of a policy's own reply: far below the four gigabytes that a u32 holds.
    let size = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    let mut block = Vec::new();
    block.extend(size(headers.len()));
    for (name, value) in headers {
        block.extend(size(name.len()));
        block.extend(size(value.as_ref().len()));
    }
    for (name, value) in headers {
        block.extend(name.as_bytes());
        block.push(0);
        block.extend(value.as_ref().as_bytes());
        block.push(0);
    }
    block
}

/// The wall clock.
pub(crate) fn now() -> Result<UnixTime, HostError> {
    const FAILED: HostError = HostError { call: "proxy_get_current_time_nanoseconds" };
    let now = hostcalls::get_current_time().map_err(|_| FAILED)?;
    let since_epoch = now.duration_since(std::time::UNIX_EPOCH).map_err(|_| FAILED)?;
    Ok(UnixTime::from_nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)))
}

/// The clock that nobody sets.
pub(crate) fn monotonic() -> Monotonic {
    let mut nanos = 0;
    // SAFETY: the pointer is valid for writes during the call. WASI requires this
    // clock; were it missing, all times would be the first moment, at which
    // deadlines never pass and nothing is refreshed, but nothing breaks.
    let _ = unsafe { clock_time_get(CLOCK_MONOTONIC, 1, &raw mut nanos) };
    Monotonic::from_nanos(nanos)
}

/// Defines a counter that Envoy shows as `wasmcustom.<name>`.
pub(crate) fn define_counter(name: &str) -> Result<u32, HostError> {
    hostcalls::define_metric(MetricType::Counter, name)
        .map_err(|_| HostError { call: "proxy_define_metric" })
}

/// Adds to a counter. A count that is lost changes no decision.
pub(crate) fn count(metric: u32, by: u64) {
    let _ = hostcalls::increment_metric(metric, i64::try_from(by).unwrap_or(i64::MAX));
}

/// Writes a line to the host's log, as far as it takes one.
pub(crate) fn log(level: LogLevel, line: &str) {
    let _ = hostcalls::log(level, line);
}
