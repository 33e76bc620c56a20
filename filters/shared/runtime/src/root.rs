//! One configured filter in one VM: the main thread's or a worker's.

use std::rc::Rc;

use mesh_filters_policy::Policy;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel};

use crate::filter::Filter;
use crate::host;
use crate::stream::StreamContext;

struct Root<P: Policy> {
    context: u32,
    filter: Option<Rc<Filter<P>>>,
}

/// Registers the policy with the host. To be called from `_initialize`.
pub fn start<P: Policy>() {
    proxy_wasm::set_root_context(|context| Box::new(Root::<P> { context, filter: None }));
}

impl<P: Policy> Context for Root<P> {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if let Some(filter) = &self.filter {
            filter.on_answer(token, headers, body);
        }
    }
}

impl<P: Policy> RootContext for Root<P> {
    /// Envoy refuses the whole update when this returns `false`, and goes on
    /// with the configuration that it has.
    fn on_configure(&mut self, size: usize) -> bool {
        let config = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size);
        let config = config.ok().flatten().unwrap_or_default();
        match Filter::load(&config, self.context) {
            Ok(filter) => {
                filter.start();
                self.filter = Some(Rc::new(filter));
                true
            }
            Err(problem) => {
                host::log(LogLevel::Error, &format!("{}: {problem}", P::NAME));
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(filter) = &self.filter {
            filter.tick();
        }
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(StreamContext::new(self.filter.clone(), context)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
