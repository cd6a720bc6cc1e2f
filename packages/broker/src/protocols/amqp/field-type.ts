import { type Field, REPLY } from '@stathmos/wire/amqp'

import { Refusal } from './errors.ts'

const TYPE_NAMES: Readonly<Record<Field['type'], string>> = {
  t: 'bool',
  b: 'byte',
  B: 'unsignedbyte',
  s: 'short',
  u: 'unsignedshort',
  I: 'signedint',
  i: 'unsignedint',
  l: 'long',
  f: 'float',
  d: 'double',
  D: 'decimal',
  S: 'longstr',
  x: 'binary',
  A: 'array',
  F: 'table',
  T: 'timestamp',
  V: 'void',
}

/** How RabbitMQ calls the type of a field. */
export function typeName(field: Field): string {
  return TYPE_NAMES[field.type]
}

/** What is said of a field that should be an integer of whatever width. */
export function noInteger(field: Field): string {
  return `"expected integer, got ${typeName(field)}"`
}

/** The refusal of an argument that should name an exchange and is no text: it has words of its own in RabbitMQ. */
export function wrongType(name: string, field: Field, thing: string): Refusal {
  return new Refusal(REPLY.preconditionFailed, `invalid type '${typeName(field)}' for arg '${name}' in ${thing}`)
}
