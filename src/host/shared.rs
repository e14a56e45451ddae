//! Values that survive a reload: the same key finds the same value.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Values by key, kept as long as they are in use.
#[derive(Default)]
pub struct Shared {
    values: Mutex<HashMap<String, Weak<dyn Any + Send + Sync>>>,
}

impl Shared {
    /// Returns the value that was made for `key` and is still in use, or makes a new one.
    ///
    /// `key` names the plugin and everything that the value depends on.
    pub fn get_or_make<T: Any + Send + Sync>(&self, key: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.retain(|_, value| value.strong_count() > 0);
        if let Some(value) = values.get(key).and_then(Weak::upgrade).and_then(|any| any.downcast::<T>().ok()) {
            return value;
        }
        let value = Arc::new(make());
        values.insert(key.to_owned(), Arc::downgrade(&(value.clone() as Arc<dyn Any + Send + Sync>)));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_while_it_is_held() {
        let shared = Shared::default();
        let first = shared.get_or_make("index a", || 1);
        assert_eq!(*shared.get_or_make("index a", || 2), 1);
        drop(first);
        assert_eq!(*shared.get_or_make("index a", || 3), 3);
    }
}
