//! The wire formats as a list in `descriptor.txt`: a change of a number, type or label shows in review.

use berth_proto::wire::DESCRIPTORS;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::fmt::Write;

fn label(field: &FieldDescriptorProto) -> &'static str {
    match field.label() {
        Label::Repeated => "repeated",
        Label::Required => "required",
        Label::Optional if field.proto3_optional() => "optional",
        Label::Optional if field.oneof_index.is_some() => "oneof",
        Label::Optional => "single",
    }
}

fn kind(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().to_owned(),
        plain => plain.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

fn write_enum(out: &mut String, scope: &str, item: &EnumDescriptorProto) {
    for value in &item.value {
        writeln!(out, "{scope}.{} {} = {}", item.name(), value.name(), value.number()).unwrap();
    }
}

fn write_message(out: &mut String, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    for field in &message.field {
        let (number, label, kind) = (field.number(), label(field), kind(field));
        writeln!(out, "{name} {} = {number} {label} {kind}", field.name()).unwrap();
    }
    if message.field.is_empty() {
        writeln!(out, "{name} (empty)").unwrap();
    }
    for nested in &message.nested_type {
        write_message(out, &name, nested);
    }
    for item in &message.enum_type {
        write_enum(out, &name, item);
    }
}

fn listing() -> String {
    let mut out = String::new();
    for file in FileDescriptorSet::decode(DESCRIPTORS).unwrap().file {
        let scope = file.package().to_owned();
        for message in &file.message_type {
            write_message(&mut out, &scope, message);
        }
        for item in &file.enum_type {
            write_enum(&mut out, &scope, item);
        }
        for service in &file.service {
            for method in &service.method {
                let stream = |on: bool| if on { "stream " } else { "" };
                let from = format!("{}{}", stream(method.client_streaming()), method.input_type());
                let to = format!("{}{}", stream(method.server_streaming()), method.output_type());
                writeln!(out, "{scope}.{}/{} {from} -> {to}", service.name(), method.name())
                    .unwrap();
            }
        }
    }
    out
}

#[test]
fn the_formats_are_those_of_the_golden_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/descriptor.txt");
    let found = listing();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &found).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    let missing: Vec<&str> = golden.lines().filter(|l| !found.lines().any(|f| f == *l)).collect();
    let added: Vec<&str> = found.lines().filter(|l| !golden.lines().any(|g| g == *l)).collect();
    assert!(
        golden == found,
        "the wire format differs from proto/descriptor.txt (UPDATE_GOLDEN=1 rewrites it)\n\
         gone: {missing:#?}\nnew: {added:#?}"
    );
}
