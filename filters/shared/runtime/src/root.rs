//! One configured filter in one VM: the main thread's or a worker's.

use std::rc::Rc;

use mesh_filters_policy::Policy;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel};

use crate::filter::Filter;
use crate::host;
use crate::stream::StreamContext;

struct Root<P> {
    filter: Option<Rc<Filter<P>>>,
}

/// Registers the policy with the host. To be called from `_initialize`.
pub fn start<P: Policy>() {
    proxy_wasm::set_root_context(|_| Box::new(Root::<P> { filter: None }));
}

impl<P: Policy> Context for Root<P> {}

impl<P: Policy> RootContext for Root<P> {
    /// Envoy refuses the whole update when this returns `false`, and goes on
    /// with the configuration that it has.
    fn on_configure(&mut self, size: usize) -> bool {
        let config = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size);
        match Filter::load(config.ok().flatten().as_deref().unwrap_or_default()) {
            Ok(filter) => {
                self.filter = Some(Rc::new(filter));
                true
            }
            Err(problem) => {
                host::log(LogLevel::Error, &format!("{}: {problem}", P::NAME));
                false
            }
        }
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(StreamContext::new(self.filter.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
