import { SdkError } from '../errors.ts'
import type { BodyFormat } from './body-format.ts'
import { textOf } from './validation.ts'

/** A type of the package `avsc`, as far as it is used here. */
export interface AvroType {
  toBuffer(value: unknown): Uint8Array
  // A Buffer there, which only Node's own type can express.
  fromBuffer(buffer: Buffer, resolver?: never): unknown
  createResolver(writer: never): object
  schema(options?: { exportAttrs?: boolean; noDeref?: boolean }): unknown
}

/**
 * Bodies in Avro's binary encoding, without a container and without the schema: each version of the contract knows its own.
 *
 * @param type made by the application: `avsc.Type.forSchema(…)`
 */
export function avro(type: AvroType): BodyFormat {
  return {
    contentType: 'avro/binary',
    reads: (mediaType) => mediaType === 'avro/binary' || mediaType === 'application/avro',
    encode: (data) => type.toBuffer(data),
    decode: (body) => type.fromBuffer(bufferOf(body)),
    shape: () => ({ format: 'avro', schema: type.schema({ exportAttrs: true }) }),
  }
}

/**
 * An upcaster by Avro's rules of schema resolution: fields that `reader` does not have are left out, those that `writer`
 * does not have get their defaults, numbers are widened.
 *
 * @throws {SdkError} `invalid_declaration` at once, when the two cannot be resolved
 */
// The version that it leads to says what it gives.
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters
export function avroUpcast<New>(writer: AvroType, reader: AvroType): (old: unknown) => New {
  const resolver = resolverOf(writer, reader)
  return (old) => reader.fromBuffer(bufferOf(writer.toBuffer(old)), resolver as never) as New
}

function resolverOf(writer: AvroType, reader: AvroType): object {
  try {
    return reader.createResolver(writer as never)
  } catch (cause) {
    throw new SdkError(
      'invalid_declaration',
      `Avro cannot read what ${nameOf(writer)} wrote as ${nameOf(reader)} (${textOf(cause)}); give .next() an upcaster of your own`,
      { cause },
    )
  }
}

function nameOf(type: AvroType): string {
  return JSON.stringify(type.schema()).slice(0, 80)
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
