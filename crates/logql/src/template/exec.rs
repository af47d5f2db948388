//! Runs a template.

use super::parser::{Arg, Branch, Command, Node, Pipe};
use super::value::Value;
use super::{Scope, TEXT_BYTES_MAX, functions};

/// What went wrong, where and in which part of the template.
pub(super) struct ExecError {
    pub(super) at: usize,
    pub(super) text: String,
    pub(super) message: String,
}

type Done<T> = Result<T, ExecError>;

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    Through,
    Break,
    Continue,
}

pub(super) fn run(nodes: &[Node], scope: &Scope<'_>) -> Done<String> {
    let mut machine = Machine { scope, out: String::new(), variables: vec![("$".to_owned(), Value::Labels)] };
    machine.nodes(nodes, &Value::Labels)?;
    Ok(machine.out)
}

struct Machine<'s, 'l> {
    scope: &'s Scope<'l>,
    out: String,
    variables: Vec<(String, Value)>,
}

impl Machine<'_, '_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Done<Flow> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Through {
                return Ok(flow);
            }
        }
        Ok(Flow::Through)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Done<Flow> {
        match node {
            Node::Text(text) => self.write(text, 0)?,
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    let at = pipe.commands.first().map_or(0, |command| command.at);
                    let text = self.shown(&value);
                    self.write(&text, at)?;
                }
            }
            Node::Branch { kind, pipe, then, otherwise } => {
                let before = self.variables.len();
                let flow = self.branch(*kind, pipe, then, otherwise, dot);
                self.variables.truncate(before);
                return flow;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Through)
    }

    fn shown(&self, value: &Value) -> String {
        match value {
            Value::Labels => {
                let pairs =
                    self.scope.fields.all().into_iter().map(|(name, value)| format!("{name}:{value}"));
                format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
            }
            other => other.print(),
        }
    }

    fn write(&mut self, text: &str, at: usize) -> Done<()> {
        if self.out.len() + text.len() > TEXT_BYTES_MAX {
            let message = format!("result longer than {TEXT_BYTES_MAX} bytes");
            return Err(ExecError { at, text: String::new(), message });
        }
        self.out.push_str(text);
        Ok(())
    }

    fn branch(
        &mut self,
        kind: Branch,
        pipe: &Pipe,
        then: &[Node],
        otherwise: &[Node],
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

    fn range(&mut self, pipe: &Pipe, then: &[Node], otherwise: &[Node], dot: &Value) -> Done<Flow> {
        let value = self.commands(pipe, dot)?;
        let items: Vec<(Value, Value)> = match value {
            Value::List(items) => {
                items.into_iter().enumerate().map(|(i, item)| (Value::Int(i as i64), item)).collect()
            }
            Value::Map(pairs) => pairs.into_iter().map(|(name, value)| (Value::Str(name), value)).collect(),
            Value::Labels => {
                let all = self.scope.fields.all().into_iter();
                all.map(|(name, value)| (Value::Str(name), Value::Str(value))).collect()
            }
            Value::Nil => Vec::new(),
            other => {
                let command = pipe.commands.first();
                return Err(ExecError {
                    at: command.map_or(0, |c| c.at),
                    text: command.map_or_else(String::new, |c| c.text.clone()),
                    message: format!("range can't iterate over {}", other.display()),
                });
            }
        };
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
    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Done<Value> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.variables {
            self.assign(name, value.clone(), pipe.declares);
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &Pipe, dot: &Value) -> Done<Value> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &Command, last: Option<Value>, dot: &Value) -> Done<Value> {
        let fail = |message: String| ExecError { at: command.at, text: command.text.clone(), message };
        let (first, rest) = match command.args.split_first() {
            Some(parts) => parts,
            None => return Err(fail("missing command".to_owned())),
        };
        let Arg::Function(name, at) = first else {
            if !rest.is_empty() || last.is_some() {
                return Err(fail("can't give argument to non-function".to_owned()));
            }
            return self.arg(first, dot, command);
        };
        if matches!(name.as_str(), "and" | "or") {
            return self.short_circuit(name == "and", rest, last, dot, command);
        }
        let mut values = Vec::with_capacity(rest.len() + 1);
        for arg in rest {
            values.push(self.arg(arg, dot, command)?);
        }
        values.extend(last);
        functions::check_count(name, values.len()).map_err(|message| ExecError {
            at: *at,
            text: name.clone(),
            message,
        })?;
        functions::call(name, values, self.scope)
            .map_err(|error| fail(format!("error calling {name}: {error}")))
    }

    /// `and` stops at the first false value, `or` at the first true one.
    fn short_circuit(
        &mut self,
        stop_at_false: bool,
        args: &[Arg],
        last: Option<Value>,
        dot: &Value,
        command: &Command,
    ) -> Done<Value> {
        let mut value = Value::Nil;
        for arg in args {
            value = self.arg(arg, dot, command)?;
            if value.is_true() != stop_at_false {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn arg(&mut self, arg: &Arg, dot: &Value, command: &Command) -> Done<Value> {
        Ok(match arg {
            Arg::Dot => dot.clone(),
            Arg::Nil => Value::Nil,
            Arg::Bool(flag) => Value::Bool(*flag),
            Arg::Int(n) => Value::Int(*n),
            Arg::Float(n) => Value::Float(*n),
            Arg::Str(text) => Value::Str(text.clone()),
            Arg::Field(path, at) => return self.field(dot.clone(), path, *at, command),
            Arg::Variable(name, path, at) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = known.map_or(Value::Nil, |(_, value)| value.clone());
                return self.field(value, path, *at, command);
            }
            Arg::Pipe(pipe, path, at) => {
                let value = self.pipe(pipe, dot)?;
                return self.field(value, path, *at, command);
            }
            Arg::Function(name, at) => {
                let fail = |message: String| ExecError { at: *at, text: name.clone(), message };
                functions::check_count(name, 0).map_err(fail)?;
                return functions::call(name, Vec::new(), self.scope)
                    .map_err(|error| fail(format!("error calling {name}: {error}")));
            }
        })
    }

    fn field(&self, value: Value, path: &[String], at: usize, command: &Command) -> Done<Value> {
        let mut value = value;
        for name in path {
            value = match value {
                Value::Labels => Value::Str(self.scope.fields.field(name).into_owned()),
                Value::Map(pairs) => {
                    pairs.into_iter().find(|(known, _)| known == name).map_or(Value::Nil, |(_, value)| value)
                }
                Value::Nil => Value::Nil,
                other => {
                    let message = format!("can't evaluate field {name} in type {}", other.type_name());
                    return Err(ExecError { at, text: command.text.clone(), message });
                }
            };
        }
        Ok(value)
    }
}
