//! Generates the schemas of the methods of a contract, either as separate schemas or as parts of
//! the schema of an object.

use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use super::FunctionSchema;

/// Collects the schemas of the methods of a contract. The code of a generated proxy adds each
/// schema.
#[derive(Debug)]
pub struct MethodSchemas {
    /// Generator of the schema that contains the schemas of the methods. `None` if the schemas of
    /// the methods are separate.
    around: Option<SchemaGenerator>,
    description: &'static str,
    schemas: Map<String, Value>,
}

impl MethodSchemas {
    /// Returns the schemas that `describe` adds. Each schema contains its own definitions.
    #[must_use]
    pub fn new(describe: fn(&mut MethodSchemas)) -> MethodSchemas {
        let mut methods = MethodSchemas {
            around: None,
            description: "",
            schemas: Map::new(),
        };
        describe(&mut methods);
        methods
    }

    /// Returns the description of the contract, and the schemas that `describe` adds. The
    /// definitions that these schemas use are added to `generator`.
    pub(crate) fn nested(
        generator: &mut SchemaGenerator,
        describe: fn(&mut MethodSchemas),
    ) -> (&'static str, Map<String, Value>) {
        let mut methods = MethodSchemas {
            around: Some(std::mem::take(generator)),
            description: "",
            schemas: Map::new(),
        };
        describe(&mut methods);
        if let Some(around) = methods.around {
            *generator = around;
        }
        (methods.description, methods.schemas)
    }

    /// Sets the description of the contract.
    pub fn description(&mut self, text: &'static str) {
        self.description = text;
    }

    /// Adds the schema of a method. `build` adds the arguments, the result and the errors to this
    /// schema.
    pub fn method(
        &mut self,
        name: &str,
        description: &str,
        build: impl FnOnce(FunctionSchema) -> FunctionSchema,
    ) {
        let schema = FunctionSchema::new(name, description);
        let schema = match self.around.take() {
            None => build(schema).finish(),
            Some(around) => {
                let nested = FunctionSchema {
                    generator: around,
                    is_nested: true,
                    ..schema
                };
                let mut built = build(nested);
                self.around = Some(std::mem::take(&mut built.generator));
                built.finish()
            }
        };
        self.schemas.insert(name.to_owned(), schema);
    }

    /// Removes and returns the schema of a method.
    pub fn take(&mut self, name: &str) -> Value {
        self.schemas.shift_remove(name).unwrap_or_default()
    }
}
