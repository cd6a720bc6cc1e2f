// Bytes of AMQP 0-9-1 for the raw client: methods, field tables, content headers. Plain and slow on purpose.
import { METHODS, methodName, PROPERTIES, type ArgumentType } from './methods.ts'

/** A field value that keeps its AMQP type, such as `{ type: 'u', value: 7 }`. */
export interface Typed {
  readonly type: string
  readonly value: unknown
}
/** Plain values are written as their usual type: boolean `t`, integer `I` or `l`, string `S`, Buffer `x`, array, table. */
export type Table = Record<string, unknown>
export type Arguments = Record<string, unknown>

export interface Method {
  readonly name: string
  readonly arguments: Arguments
}

export function encodeMethod(name: string, values: Arguments): Buffer {
  const shape = METHODS[name]
  if (shape === undefined) throw new Error(`no method ${name}`)
  const known = new Set(shape.arguments.map(([argument]) => argument))
  for (const key of Object.keys(values)) if (!known.has(key)) throw new Error(`${name} has no argument ${key}`)
  const parts: Buffer[] = [uint(2, shape.id[0]), uint(2, shape.id[1])]
  let bits = -1
  let bitCount = 0
  for (const [argument, type] of shape.arguments) {
    const value = values[argument]
    if (type === 'bit') {
      if (bitCount === 0) bits = parts.push(uint(1, 0)) - 1
      if (value === true) parts[bits]![0]! |= 1 << bitCount
      bitCount++
      continue
    }
    bitCount = 0
    parts.push(encodeArgument(type, value))
  }
  return Buffer.concat(parts)
}

export function decodeMethod(payload: Buffer): Method {
  const reader = new Reader(payload)
  const name = methodName(reader.uint(2), reader.uint(2))
  const values: Arguments = {}
  let bits = 0
  let bitCount = 0
  for (const [argument, type] of METHODS[name]?.arguments ?? []) {
    if (type === 'bit') {
      if (bitCount === 0) bits = reader.uint(1)
      values[argument] = (bits & (1 << bitCount)) !== 0
      bitCount++
      continue
    }
    bitCount = 0
    values[argument] = reader.argument(type)
  }
  return { name, arguments: values }
}

export function encodeHeader(bodySize: number, properties: Arguments): Buffer {
  let flags = 0
  const parts: Buffer[] = []
  PROPERTIES.forEach(([name, type], index) => {
    const value = properties[name]
    if (value === undefined) return
    flags |= 1 << (15 - index)
    parts.push(type === 'timestamp' ? uint(8, value as number) : encodeArgument(type, value))
  })
  return Buffer.concat([uint(2, 60), uint(2, 0), uint(8, bodySize), uint(2, flags), ...parts])
}

export function decodeHeader(payload: Buffer): { bodySize: number; properties: Arguments } {
  const reader = new Reader(payload)
  reader.uint(4)
  const bodySize = reader.uint(8)
  const flags = reader.uint(2)
  const properties: Arguments = {}
  PROPERTIES.forEach(([name, type], index) => {
    if ((flags & (1 << (15 - index))) === 0) return
    properties[name] = type === 'timestamp' ? reader.uint(8) : reader.argument(type)
  })
  return { bodySize, properties }
}

export function frame(type: number, channel: number, payload: Buffer): Buffer {
  return Buffer.concat([uint(1, type), uint(2, channel), uint(4, payload.length), payload, uint(1, 0xce)])
}

function uint(size: 1 | 2 | 4 | 8, value: number | bigint): Buffer {
  const bytes = Buffer.alloc(size)
  if (size === 8) bytes.writeBigUInt64BE(BigInt(value))
  else bytes.writeUIntBE(Number(value), 0, size)
  return bytes
}

function shortstr(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([uint(1, bytes.length), bytes])
}

function longstr(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text as string)
  return Buffer.concat([uint(4, bytes.length), bytes])
}

const EMPTY: Record<ArgumentType, unknown> = {
  octet: 0,
  short: 0,
  long: 0,
  longlong: 0,
  shortstr: '',
  longstr: '',
  table: {},
  bit: false,
}

function encodeArgument(type: ArgumentType, given: unknown): Buffer {
  const value = given ?? EMPTY[type]
  switch (type) {
    case 'octet':
      return uint(1, value as number)
    case 'short':
      return uint(2, value as number)
    case 'long':
      return uint(4, value as number)
    case 'longlong':
      return uint(8, value as number)
    case 'shortstr':
      return shortstr(value as string)
    case 'longstr':
      return longstr(value as string)
    case 'table':
      return encodeTable(value as Table)
    case 'bit':
      throw new Error('bits are packed by the caller')
  }
}

export function encodeTable(table: Table): Buffer {
  const fields = Object.entries(table).map(([name, value]) => Buffer.concat([shortstr(name), encodeField(value)]))
  return longstr(Buffer.concat(fields))
}

function encodeField(value: unknown): Buffer {
  const { type, value: plain } = typed(value)
  return Buffer.concat([Buffer.from(type), encodeTyped(type, plain)])
}

function typed(value: unknown): Typed {
  if (value === null) return { type: 'V', value }
  if (typeof value === 'boolean') return { type: 't', value }
  if (typeof value === 'string') return { type: 'S', value }
  if (typeof value === 'number') {
    if (!Number.isInteger(value)) return { type: 'd', value }
    return { type: Math.abs(value) < 2 ** 31 ? 'I' : 'l', value }
  }
  if (Buffer.isBuffer(value)) return { type: 'x', value }
  if (Array.isArray(value)) return { type: 'A', value }
  const candidate = value as Partial<Typed>
  if (typeof candidate.type === 'string' && candidate.type.length === 1 && 'value' in candidate)
    return candidate as Typed
  return { type: 'F', value }
}

function encodeTyped(type: string, value: unknown): Buffer {
  const bytes = Buffer.alloc(8)
  switch (type) {
    case 't':
      return uint(1, value === true ? 1 : 0)
    case 'b':
      return bytes.subarray(0, bytes.writeInt8(value as number))
    case 'B':
      return uint(1, value as number)
    case 's':
      return bytes.subarray(0, bytes.writeInt16BE(value as number))
    case 'u':
      return uint(2, value as number)
    case 'I':
      return bytes.subarray(0, bytes.writeInt32BE(value as number))
    case 'i':
      return uint(4, value as number)
    case 'l':
      return bytes.subarray(0, bytes.writeBigInt64BE(BigInt(value as number)))
    case 'f':
      return bytes.subarray(0, bytes.writeFloatBE(value as number))
    case 'd':
      return bytes.subarray(0, bytes.writeDoubleBE(value as number))
    case 'D': {
      const { places, digits } = value as { places: number; digits: number }
      return Buffer.concat([uint(1, places), uint(4, digits)])
    }
    case 'S':
    case 'x':
      return longstr(value as string | Buffer)
    case 'A':
      return longstr(Buffer.concat((value as unknown[]).map(encodeField)))
    case 'T':
      return uint(8, value as number)
    case 'F':
      return encodeTable(value as Table)
    case 'V':
      return Buffer.alloc(0)
    default:
      throw new Error(`no field type ${type}`)
  }
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  take(size: number): Buffer {
    if (this.#at + size > this.#bytes.length) throw new Error(`${size} bytes wanted at ${this.#at}, the payload ends`)
    this.#at += size
    return this.#bytes.subarray(this.#at - size, this.#at)
  }

  uint(size: 1 | 2 | 4 | 8): number {
    const bytes = this.take(size)
    return size === 8 ? Number(bytes.readBigUInt64BE()) : bytes.readUIntBE(0, size)
  }

  argument(type: ArgumentType): unknown {
    switch (type) {
      case 'octet':
        return this.uint(1)
      case 'short':
        return this.uint(2)
      case 'long':
        return this.uint(4)
      case 'longlong':
        return this.uint(8)
      case 'shortstr':
        return this.take(this.uint(1)).toString()
      case 'longstr':
        return this.take(this.uint(4)).toString()
      case 'table':
        return this.table()
      case 'bit':
        throw new Error('bits are unpacked by the caller')
    }
  }

  table(): Table {
    const reader = new Reader(this.take(this.uint(4)))
    const table: Table = {}
    while (!reader.atEnd) {
      const name = reader.argument('shortstr') as string
      table[name] = reader.field()
    }
    return table
  }

  /** Types that JavaScript cannot tell apart come back as {@link Typed}. */
  field(): unknown {
    const type = this.take(1).toString('latin1')
    switch (type) {
      case 't':
        return this.uint(1) !== 0
      case 'I':
        return this.take(4).readInt32BE()
      case 'l':
        return Number(this.take(8).readBigInt64BE())
      case 'd':
        return this.take(8).readDoubleBE()
      case 'S':
        return this.take(this.uint(4)).toString()
      case 'x':
        return Buffer.from(this.take(this.uint(4)))
      case 'F':
        return this.table()
      case 'V':
        return null
      case 'A': {
        const reader = new Reader(this.take(this.uint(4)))
        const values: unknown[] = []
        while (!reader.atEnd) values.push(reader.field())
        return values
      }
      case 'b':
        return { type, value: this.take(1).readInt8() }
      case 'B':
        return { type, value: this.uint(1) }
      case 's':
        return { type, value: this.take(2).readInt16BE() }
      case 'u':
        return { type, value: this.uint(2) }
      case 'i':
        return { type, value: this.uint(4) }
      case 'f':
        return { type, value: this.take(4).readFloatBE() }
      case 'D':
        return { type, value: { places: this.uint(1), digits: this.uint(4) } }
      case 'T':
        return { type, value: this.uint(8) }
      default:
        throw new Error(`no field type ${type}`)
    }
  }
}
