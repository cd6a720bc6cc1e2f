import type * as Protobuf from '@bufbuild/protobuf'
import { loadPeer } from '../peer.ts'
import type { BodyFormat, ProtobufField } from './body-format.ts'

/** A message's descriptor as `@bufbuild/protobuf` generates it (`TicketSchema`), as far as it is used here. */
export interface ProtobufSchema {
  readonly kind: 'message'
  readonly typeName: string
  readonly fields: readonly object[]
}

/**
 * Bodies in Protobuf. The sender gives what `create(schema, …)` takes; the validator reads the decoded message, which has a
 * `$typeName` besides its fields, so a schema that refuses unknown fields refuses every message. The package
 * `@bufbuild/protobuf` is loaded with the first body.
 *
 * @throws {SdkError} `peer_missing` from the first body when the package is not installed
 */
export function protobuf(schema: ProtobufSchema): BodyFormat {
  const descriptor = schema as unknown as Protobuf.DescMessage
  return {
    contentType: 'application/x-protobuf',
    reads: (mediaType) => mediaType === 'application/x-protobuf' || mediaType === 'application/protobuf',
    async encode(data) {
      const { create, toBinary } = await load()
      return toBinary(descriptor, create(descriptor, data as Protobuf.MessageInitShape<Protobuf.DescMessage>))
    },
    decode: async (body) => (await load()).fromBinary(descriptor, body),
    shape: () => ({ format: 'protobuf', message: schema.typeName, fields: descriptor.fields.map(fieldOf) }),
  }
}

function load(): Promise<typeof Protobuf> {
  return loadPeer({
    name: '@bufbuild/protobuf',
    what: 'bodies in Protobuf',
    load: (): Promise<typeof Protobuf> => import('@bufbuild/protobuf'),
    needs: ['create', 'toBinary', 'fromBinary'],
  })
}

/** The names of Protobuf's scalar types by their numbers (descriptor.proto, FieldDescriptorProto.Type). */
const SCALARS: Readonly<Record<number, string>> = {
  1: 'double',
  2: 'float',
  3: 'int64',
  4: 'uint64',
  5: 'int32',
  6: 'fixed64',
  7: 'fixed32',
  8: 'bool',
  9: 'string',
  12: 'bytes',
  13: 'uint32',
  15: 'sfixed32',
  16: 'sfixed64',
  17: 'sint32',
  18: 'sint64',
}

function fieldOf(field: Protobuf.DescField): ProtobufField {
  const single = field.message?.typeName ?? field.enum?.typeName ?? SCALARS[field.scalar ?? 0] ?? 'unknown'
  const type =
    field.fieldKind === 'map'
      ? `map<${SCALARS[field.mapKey] ?? 'unknown'}, ${single}>`
      : field.fieldKind === 'list'
        ? `repeated ${single}`
        : single
  return { number: field.number, name: field.name, type }
}
