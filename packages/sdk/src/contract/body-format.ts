/** What is known of a body's shape besides the validator's schema, for the manifest. */
export type BodyShape =
  | { readonly format: 'json' }
  | { readonly format: 'avro'; readonly schema: unknown }
  | { readonly format: 'protobuf'; readonly message: string; readonly fields: readonly ProtobufField[] }
  | { readonly format: string }

/** A field of a Protobuf message, as far as its bytes depend on it. */
export interface ProtobufField {
  readonly number: number
  readonly name: string
  /** `string`, `repeated int32`, `acme.Ticket`, `map<string, bool>`. */
  readonly type: string
}

/** How a contract's data becomes bytes: {@link json}, `avro(type)`, `protobuf(schema)`, or an application's own. */
export interface BodyFormat {
  /** Media type of the bodies it writes: `application/json`. */
  readonly contentType: string
  /** Whether it reads bodies of this media type, which is in lower case and without parameters. */
  reads(mediaType: string): boolean
  /** Throws anything when the data does not fit. */
  encode(data: unknown): Uint8Array | Promise<Uint8Array>
  /** Throws anything when the bytes are none of this format. */
  decode(body: Uint8Array): unknown
  shape(): BodyShape
}
