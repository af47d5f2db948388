//! Runs a template.

use crate::builtins;
use crate::methods;
use crate::parser::{Arg, Branch, Command, Node, Pipe, Term};
use crate::value::Value;
use crate::{Missing, Options, Scope, TEXT_BYTES_MAX, Template, check_count};

/// Deepest chain of templates that call each other.
const CALLS_MAX: usize = 100;
/// Most steps of all loops of one run.
const STEPS_MAX: usize = 1_000_000;

/// What went wrong, where and in which part of the template.
pub(crate) struct ExecError {
    pub(crate) at: usize,
    pub(crate) text: String,
    pub(crate) message: String,
}

type Done<T> = Result<T, ExecError>;

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    Through,
    Break,
    Continue,
}

pub(crate) fn run(template: &Template, data: Value, scope: &dyn Scope, options: Options) -> Done<String> {
    let variables = vec![("$".to_owned(), data.clone())];
    let mut machine = Machine { template, scope, options, out: String::new(), variables, calls: 0, steps: 0 };
    machine.nodes(&template.nodes, &data)?;
    Ok(machine.out)
}

struct Machine<'s> {
    template: &'s Template,
    scope: &'s dyn Scope,
    options: Options,
    out: String,
    variables: Vec<(String, Value)>,
    calls: usize,
    steps: usize,
}

fn fault(at: usize, text: &impl ToString, message: impl Into<String>) -> ExecError {
    ExecError { at, text: text.to_string(), message: message.into() }
}

impl<'s> Machine<'s> {
    fn nodes(&mut self, nodes: &'s [Node], dot: &Value) -> Done<Flow> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Through {
                return Ok(flow);
            }
        }
        Ok(Flow::Through)
    }

    fn node(&mut self, node: &'s Node, dot: &Value) -> Done<Flow> {
        match node {
            Node::Text(text) => self.write(text, 0)?,
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    let text = self.shown(&value);
                    self.write(&text, pipe.at)?;
                }
            }
            Node::Branch { kind, pipe, then, otherwise } => {
                let before = self.variables.len();
                let flow = self.branch(*kind, pipe, then, otherwise, dot);
                self.variables.truncate(before);
                return flow;
            }
            Node::Template { name, pipe, at } => {
                let data = pipe.as_ref().map_or(Ok(Value::Nil), |pipe| self.pipe(pipe, dot))?;
                self.template(name, data, *at)?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Through)
    }

    /// Runs a defined template.
    fn template(&mut self, name: &str, data: Value, at: usize) -> Done<()> {
        let text = format!("{{{{template {name:?}}}}}");
        let Some(nodes) = self.template.defined.get(name) else {
            return Err(fault(at, &text, format!("template {name:?} not defined")));
        };
        if self.calls >= CALLS_MAX {
            return Err(fault(at, &text, format!("exceeded maximum template depth ({CALLS_MAX})")));
        }
        self.calls += 1;
        let variables = std::mem::replace(&mut self.variables, vec![("$".to_owned(), data.clone())]);
        let flow = self.nodes(nodes, &data);
        self.variables = variables;
        self.calls -= 1;
        flow.map(|_| ())
    }

    fn shown(&self, value: &Value) -> String {
        let text = match value {
            Value::Labels => {
                let pairs = self.scope.labels().into_iter().map(|(name, value)| format!("{name}:{value}"));
                format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
            }
            Value::Nil if self.options.html => String::new(),
            other => other.print(),
        };
        match value {
            Value::Html(_) => text,
            _ if self.options.html => builtins::html(&text),
            _ => text,
        }
    }

    fn write(&mut self, text: &str, at: usize) -> Done<()> {
        if self.out.len() + text.len() > TEXT_BYTES_MAX {
            return Err(fault(at, &"", format!("result longer than {TEXT_BYTES_MAX} bytes")));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn branch(
        &mut self,
        kind: Branch,
        pipe: &'s Pipe,
        then: &'s [Node],
        otherwise: &'s [Node],
        dot: &Value,
    ) -> Done<Flow> {
        if kind == Branch::Range {
            return self.range(pipe, then, otherwise, dot);
        }
        let value = self.pipe(pipe, dot)?;
        match (value.is_true(), kind) {
            (true, Branch::With) => self.nodes(then, &value),
            (true, _) => self.nodes(then, dot),
            (false, _) => self.nodes(otherwise, dot),
        }
    }

    fn items(&mut self, pipe: &Pipe, value: Value) -> Done<Vec<(Value, Value)>> {
        let texts = |pairs: Vec<(String, String)>| {
            pairs.into_iter().map(|(name, value)| (Value::Str(name), Value::Str(value))).collect()
        };
        let items: Vec<(Value, Value)> = match value {
            Value::List(items) => {
                items.into_iter().enumerate().map(|(i, item)| (Value::Int(i as i64), item)).collect()
            }
            Value::Map(pairs) => pairs.into_iter().map(|(name, value)| (Value::Str(name), value)).collect(),
            Value::Texts(pairs) => texts(pairs.to_vec()),
            Value::Labels => texts(self.scope.labels()),
            Value::Int(n) if n <= STEPS_MAX as i64 => {
                (0..n).map(|i| (Value::Int(i), Value::Int(i))).collect()
            }
            Value::Nil => Vec::new(),
            other => {
                return Err(fault(pipe.at, pipe, format!("range can't iterate over {}", other.display())));
            }
        };
        self.steps = self.steps.saturating_add(items.len());
        if self.steps > STEPS_MAX {
            return Err(fault(pipe.at, pipe, format!("loops take more than {STEPS_MAX} steps")));
        }
        Ok(items)
    }

    fn range(&mut self, pipe: &'s Pipe, then: &'s [Node], otherwise: &'s [Node], dot: &Value) -> Done<Flow> {
        let value = self.commands(pipe, dot)?;
        let items = self.items(pipe, value)?;
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let before = self.variables.len();
        for (key, item) in items {
            match pipe.variables.as_slice() {
                [value] => self.assign(value, item.clone(), pipe.declares),
                [index, value, ..] => {
                    self.assign(index, key, pipe.declares);
                    self.assign(value, item.clone(), pipe.declares);
                }
                [] => {}
            }
            let flow = self.nodes(then, &item)?;
            self.variables.truncate(before);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Through)
    }

    fn assign(&mut self, name: &str, value: Value, declares: bool) {
        let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        match known {
            Some(variable) if !declares => variable.1 = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    /// Runs the commands and assigns the result.
    fn pipe(&mut self, pipe: &'s Pipe, dot: &Value) -> Done<Value> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.variables {
            self.assign(name, value.clone(), pipe.declares);
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &'s Pipe, dot: &Value) -> Done<Value> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &'s Command, last: Option<Value>, dot: &Value) -> Done<Value> {
        let Some((first, rest)) = command.args.split_first() else {
            return Err(fault(command.at, command, "empty command"));
        };
        match &first.term {
            Term::Function(name) => self.call(name, first.at, command, rest, last, dot),
            Term::Field(path) => self.invoke(dot.clone(), path, first, rest, last, dot),
            Term::Variable(name, path) => {
                let value = self.variable(name);
                self.invoke(value, path, first, rest, last, dot)
            }
            Term::Chain(inner, path) => {
                let value = self.arg(inner, dot)?;
                self.invoke(value, path, first, rest, last, dot)
            }
            _ if !rest.is_empty() || last.is_some() => {
                Err(fault(first.at, first, format!("can't give argument to non-function {first}")))
            }
            Term::Nil => Err(fault(first.at, first, "nil is not a command")),
            _ => self.arg(first, dot),
        }
    }

    fn call(
        &mut self,
        name: &str,
        at: usize,
        command: &'s Command,
        rest: &'s [Arg],
        last: Option<Value>,
        dot: &Value,
    ) -> Done<Value> {
        if matches!(name, "and" | "or") {
            return self.short_circuit(name == "and", rest, last, dot);
        }
        let values = self.values(rest, last, dot)?;
        self.function(name, at, values, (command.at, command))
    }

    fn values(&mut self, args: &'s [Arg], last: Option<Value>, dot: &Value) -> Done<Vec<Value>> {
        let mut values = Vec::with_capacity(args.len() + 1);
        for arg in args {
            values.push(self.arg(arg, dot)?);
        }
        values.extend(last);
        Ok(values)
    }

    /// Calls a function. `whole` is what an error of the call names.
    fn function(
        &mut self,
        name: &str,
        at: usize,
        values: Vec<Value>,
        whole: (usize, &dyn std::fmt::Display),
    ) -> Done<Value> {
        if let Some(count) = self.template.functions.count(name) {
            check_count(name, values.len(), count).map_err(|message| fault(at, &name, message))?;
        }
        let outcome = match (name, values.as_slice()) {
            ("tmpl", [Value::Str(template), data]) if self.options.html => {
                self.rendered(template, data.clone())
            }
            _ => self.template.functions.call(name, values, self.scope),
        };
        outcome.map_err(|error| fault(whole.0, &whole.1, format!("error calling {name}: {error}")))
    }

    /// A defined template's text, for the function `tmpl`.
    fn rendered(&mut self, name: &str, data: Value) -> Result<Value, String> {
        let before = std::mem::take(&mut self.out);
        let outcome = self.template(name, data, 0);
        let text = std::mem::replace(&mut self.out, before);
        outcome.map(|()| Value::Html(text)).map_err(|error| error.message)
    }

    /// `and` stops at the first false value, `or` at the first true one.
    fn short_circuit(
        &mut self,
        stop_at_false: bool,
        args: &'s [Arg],
        last: Option<Value>,
        dot: &Value,
    ) -> Done<Value> {
        let mut value = Value::Nil;
        for arg in args {
            value = self.arg(arg, dot)?;
            if value.is_true() != stop_at_false {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn variable(&self, name: &str) -> Value {
        let known = self.variables.iter().rev().find(|(known, _)| known == name);
        known.map_or(Value::Nil, |(_, value)| value.clone())
    }

    fn arg(&mut self, arg: &'s Arg, dot: &Value) -> Done<Value> {
        Ok(match &arg.term {
            Term::Dot => dot.clone(),
            Term::Nil => Value::Nil,
            Term::Bool(flag) => Value::Bool(*flag),
            Term::Int(n, _) => Value::Int(*n),
            Term::Float(n, _) => Value::Float(*n),
            Term::Str(text, _) => Value::Str(text.clone()),
            Term::Field(path) => return self.invoke(dot.clone(), path, arg, &[], None, dot),
            Term::Variable(name, path) => {
                let value = self.variable(name);
                return self.invoke(value, path, arg, &[], None, dot);
            }
            Term::Chain(inner, path) => {
                let value = self.arg(inner, dot)?;
                return self.invoke(value, path, arg, &[], None, dot);
            }
            Term::Pipe(pipe) => return self.pipe(pipe, dot),
            Term::Function(name) => return self.function(name, arg.at, Vec::new(), (arg.at, arg)),
        })
    }

    /// Follows a path of fields; the last one may be a method that takes arguments.
    fn invoke(
        &mut self,
        value: Value,
        path: &[String],
        arg: &'s Arg,
        rest: &'s [Arg],
        last: Option<Value>,
        dot: &Value,
    ) -> Done<Value> {
        let mut value = value;
        let Some((name, before)) = path.split_last() else {
            if rest.is_empty() && last.is_none() {
                return Ok(value);
            }
            return Err(fault(arg.at, arg, format!("can't give argument to non-function {arg}")));
        };
        for name in before {
            value = self.field(value, name).map_err(|message| fault(arg.at, arg, message))?;
        }
        let values = self.values(rest, last, dot)?;
        if let Some(outcome) = methods::call(&value, name, &values) {
            return outcome.map_err(|message| fault(arg.at, arg, message));
        }
        if !values.is_empty() {
            let message = match value {
                Value::Struct(_) => format!("{name} has arguments but cannot be invoked as function"),
                _ => format!("{name} is not a method but has arguments"),
            };
            return Err(fault(arg.at, arg, message));
        }
        self.field(value, name).map_err(|message| fault(arg.at, arg, message))
    }

    fn field(&self, value: Value, name: &str) -> Result<Value, String> {
        if let Some(outcome) = methods::call(&value, name, &[]) {
            return outcome;
        }
        let absent = |of_texts: bool| match self.options.missing {
            Missing::Error => Err(format!("map has no entry for key {name:?}")),
            Missing::Zero if of_texts => Ok(Value::Str(String::new())),
            _ => Ok(Value::Nil),
        };
        match value {
            Value::Labels => Ok(Value::Str(self.scope.label(name).into_owned())),
            Value::Map(pairs) => {
                let found = pairs.into_iter().find(|(known, _)| known == name);
                found.map_or_else(|| absent(false), |(_, value)| Ok(value))
            }
            Value::Texts(pairs) => match pairs.iter().find(|(known, _)| known == name) {
                Some((_, text)) => Ok(Value::Str(text.clone())),
                None => absent(true),
            },
            Value::Struct(object) => match object.get(name) {
                Some(value) => Ok(value.clone()),
                None => Err(format!("can't evaluate field {name} in type {}", object.type_name)),
            },
            Value::Nil if self.options.missing == Missing::Error => {
                Err(format!("nil data; no entry for key {name:?}"))
            }
            Value::Nil => Ok(Value::Nil),
            other => Err(format!("can't evaluate field {name} in type {}", other.type_name())),
        }
    }
}
