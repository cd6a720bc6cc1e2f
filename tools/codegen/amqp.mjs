/**
 * Writes packages/wire/src/amqp/methods.gen.ts from packages/wire/schema/amqp-0-9-1.mjs.
 *
 *     node tools/codegen/amqp.mjs            writes the file
 *     node tools/codegen/amqp.mjs --print    prints it instead
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { format } from 'oxfmt'
import { classes } from '../../packages/wire/schema/amqp-0-9-1.mjs'

const target = new URL('../../packages/wire/src/amqp/methods.gen.ts', import.meta.url)

/** What each type is in TypeScript, and how it is read and written. `end` expressions move the position first. */
const types = {
  octet: { ts: 'number', size: 1, read: 'readOctet(bytes, at, end)', put: 'putOctet', zero: '0' },
  short: { ts: 'number', size: 2, read: 'readShort(view, at, end)', put: 'putShort', zero: '0' },
  long: { ts: 'number', size: 4, read: 'readLong(view, at, end)', put: 'putLong', zero: '0' },
  longlong: { ts: 'number', size: 8, read: 'readLongLong(view, at, end)', put: 'putLongLong', zero: '0' },
  shortstr: { ts: 'string', end: 'shortStringEnd(bytes, at, end)', read: text(1), put: 'putShortString', zero: "''" },
  replytext: { ts: 'string', end: 'shortStringEnd(bytes, at, end)', read: text(1), put: 'putReplyText', zero: "''" },
  longtext: { ts: 'string', end: 'longStringEnd(view, at, end)', read: text(4), put: 'putLongString', zero: "''" },
  longstr: {
    ts: 'Uint8Array',
    end: 'longStringEnd(view, at, end)',
    read: (end) => `copyOctets(bytes, at + 4, ${end})`,
    put: 'putLongString',
    zero: "''",
  },
  table: { ts: 'Table', end: 'longStringEnd(view, at, end)', read: (end) => `decodeTable(bytes, view, at, ${end})` },
}

function text(lengthSize) {
  return (end) => `readText(bytes, at + ${lengthSize}, ${end})`
}

const methods = classes.flatMap(({ name: className, id: classId, methods: table }) =>
  Object.entries(table).map(([name, [id, fields]]) => ({
    name: `${className}.${name}`,
    pascal: pascalCase(`${className}-${name}`),
    id: classId * 0x10000 + id,
    spec: `${classId}.${id}`,
    fields: fields === '' ? [] : fields.split(' ').map(parseField),
  })),
)

function parseField(field) {
  const [name, type] = field.split(':')
  if (type !== 'bit' && !(type in types)) throw new Error(`unknown field type in "${field}"`)
  return { name: name === '_' ? undefined : name, type }
}

function pascalCase(name) {
  return name.replaceAll(/(?:^|-)(\w)/g, (_, letter) => letter.toUpperCase())
}

/** Consecutive bits share an octet: each run of them becomes one step. */
function steps(fields) {
  const result = []
  for (const field of fields) {
    const last = result.at(-1)
    if (field.type === 'bit' && last?.bits && last.bits.length < 8) last.bits.push(field)
    else result.push(field.type === 'bit' ? { bits: [field] } : { field })
  }
  return result
}

function interfaceOf({ name, pascal, spec, fields }) {
  const lines = fields
    .filter((field) => field.name)
    .map((field) => `  readonly ${field.name}: ${field.type === 'bit' ? 'boolean' : types[field.type].ts}`)
  return `/** ${spec} */\nexport interface ${pascal} {\n  readonly name: '${name}'\n${lines.join('\n')}\n}\n`
}

function decoderOf({ name, pascal, fields }) {
  if (fields.length === 0) return ''
  const lines = steps(fields).flatMap((step, index) => {
    if (step.bits) {
      const named = step.bits.some((bit) => bit.name)
      const read = named ? `const bits = readOctet(bytes, at, end)` : `requireOctets(at, 1, end, 'an octet')`
      const values = step.bits.map((bit, i) => (bit.name ? `const ${local(bit)} = (bits & ${1 << i}) !== 0` : ''))
      return [read, ...values, 'at += 1']
    }
    const { field } = step
    const type = types[field.type]
    if (type.size) {
      const read = field.name
        ? `const ${local(field)} = ${type.read}`
        : `requireOctets(at, ${type.size}, end, 'a reserved field')`
      return [read, `at += ${type.size}`]
    }
    if (!field.name) return [`at = ${type.end}`]
    const end = `end${index}`
    return [`const ${end} = ${type.end}`, `const ${local(field)} = ${type.read(end)}`, `at = ${end}`]
  })
  const named = fields.filter((field) => field.name)
  const values = named.map((field) => (local(field) === field.name ? field.name : `${field.name}: ${local(field)}`))
  return `function decode${pascal}(view: DataView, bytes: Uint8Array, start: number, end: number): ${pascal} {
let at = start
${lines.join('\n')}
requireEnd(at, end)
return { ${[`name: '${name}'`, ...values].join(', ')} }
}
`
}

/** `arguments` and the like are no names for a variable in strict mode. */
function local({ name }) {
  return name === 'arguments' ? 'table' : name
}

function encoderOf({ pascal, fields }) {
  if (fields.length === 0) return ''
  const lines = steps(fields).map((step) => {
    if (step.bits) {
      const named = step.bits.flatMap(({ name }, i) => (name ? [`(method.${name} ? ${1 << i} : 0)`] : []))
      return `out.putOctet(${named.join(' | ') || '0'})`
    }
    const { name, type } = step.field
    if (type === 'table') return `encodeTable(out, method.${name})`
    return `out.${types[type].put}(${name ? `method.${name}` : types[type].zero})`
  })
  const parameter = fields.some((field) => field.name) ? `, method: ${pascal}` : ''
  return `function encode${pascal}(out: OutputBuffer${parameter}): void {\n${lines.join('\n')}\n}\n`
}

function decodeCase({ name, pascal, id, fields }) {
  if (fields.length > 0) return `case ${hex(id)}: return decode${pascal}(view, bytes, at, end)`
  return `case ${hex(id)}: requireEnd(at, end); return { name: '${name}' }`
}

function encodeCase({ name, pascal, id, fields }) {
  const parameter = fields.some((field) => field.name) ? ', method' : ''
  const body = fields.length > 0 ? `; encode${pascal}(out${parameter})` : ''
  return `case '${name}': out.putLong(${hex(id)})${body}; break`
}

function hex(id) {
  return `0x${id.toString(16).padStart(8, '0')}`
}

const source = `// Generated by tools/codegen/amqp.mjs from packages/wire/schema/amqp-0-9-1.mjs. Do not edit.
import { REPLY, ProtocolError } from './errors.ts'
import { FRAME_METHOD, beginFrame, endFrame } from './frame.ts'
import type { OutputBuffer } from './output-buffer.ts'
import {
  copyOctets, longStringEnd, readLong, readLongLong, readOctet, readShort, readText, requireEnd, requireOctets,
  shortStringEnd,
} from './primitives.ts'
import { decodeTable, encodeTable } from './table.ts'
import type { Table } from './table.ts'

/** Class and method id of every method in one number, as the first four octets of its payload. */
export const METHOD_ID = {
${methods.map(({ name, id }) => `  '${name}': ${hex(id)},`).join('\n')}
} as const

export type MethodName = keyof typeof METHOD_ID

${methods.map(interfaceOf).join('\n')}
/** A method with its fields; reserved fields are left out. */
export type Method =
${methods.map(({ pascal }) => `  | ${pascal}`).join('\n')}

/**
 * Decodes the payload of a method frame. Copies what it keeps: the bytes may be reused.
 *
 * @param view of the same memory as \`bytes\`
 * @throws {ProtocolError} 503 for a method nobody knows, 502 where the fields are not what that method has
 */
export function decodeMethod(view: DataView, bytes: Uint8Array, start: number, end: number): Method {
  const id = readLong(view, start, end)
  const at = start + 4
  switch (id) {
${methods.map(decodeCase).join('\n')}
    default:
      throw new ProtocolError(REPLY.commandInvalid, 'a known method', \`\${id >>> 16}.\${id & 0xffff}\`, start)
  }
}

/** Writes \`method\` as a whole frame. Only a table can make it longer than the smallest frame-max. */
export function encodeMethod(out: OutputBuffer, channel: number, method: Method): void {
  const frame = beginFrame(out, FRAME_METHOD, channel)
  switch (method.name) {
${methods.map(encodeCase).join('\n')}
  }
  endFrame(out, frame)
}

${methods.map(decoderOf).join('\n')}
${methods.map(encoderOf).join('\n')}
`

const options = JSON.parse(readFileSync(new URL('../../.oxfmtrc.json', import.meta.url), 'utf8'))
delete options.ignorePatterns
const { code, errors } = await format('methods.gen.ts', source, options)
if (errors.length > 0) throw new Error(`the generated code does not parse: ${JSON.stringify(errors)}`)
if (process.argv.includes('--print')) process.stdout.write(code)
else writeFileSync(target, code)
