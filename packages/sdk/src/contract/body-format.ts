/** What is known of a body's shape besides the validator's schema, for the manifest. */
export type BodyShape = (
  | { readonly format: 'json' }
  | { readonly format: 'avro'; readonly schema: unknown }
  | { readonly format: 'protobuf'; readonly message: string; readonly fields: readonly ProtobufField[] }
  | { readonly format: string }
) & {
  /** What is around that, the outermost last. */
  readonly layers?: readonly ShapeLayer[]
}

/** A layer around a body, for the manifest. */
export interface ShapeLayer {
  /** `encryption`, `claim check`. */
  readonly name: string
  /** Whether bodies without it are read as well. */
  readonly optional: boolean
}

/** A field of a Protobuf message, as far as its bytes depend on it. */
export interface ProtobufField {
  readonly number: number
  readonly name: string
  /** `string`, `repeated int32`, `acme.Ticket`, `map<string, bool>`. */
  readonly type: string
}

/** What a format is told of the message that a body belongs to. */
export interface BodyContext {
  /** The message's id; null where a body is written for no message. */
  readonly id: string | null
  /** The contract's name; of an error that a request declares, `<request> error <name>`. */
  readonly type: string
  /** The version that the body is in. */
  readonly version: number
  /** Of a body that is read: its content type as it came, parameters included. Of one that is written: that of the format. */
  readonly contentType: string
}

/** A body as it is sent. */
export interface Written {
  readonly contentType: string
  readonly body: Uint8Array
}

/**
 * What a format does that is around another one. A contract writes the data in the innermost format, reads that back and
 * validates it, and only then has the layers wrap it, from the inside out, once for each message that is really made: a
 * retry sends the same bytes again. Reading is left to `decode`, which calls that of the inner format.
 */
export interface BodyLayer {
  readonly inner: BodyFormat
  /** May leave a body as it is. */
  wrap(written: Written, context: BodyContext): Written | Promise<Written>
  /**
   * A text by which the same data is known again, where a hash of the body would tell strangers too much, or the body is
   * another one each time.
   *
   * @param body what the innermost format wrote
   * @param known an earlier one that this is to be compared with
   */
  digest?(body: Uint8Array, known: string | null): string | Promise<string>
  /** The data is nobody else's business: errors say where it is wrong, and not how. */
  readonly secret?: boolean
  /** Bodies lie somewhere else, as the inner format wrote them: what is around this sees only where. */
  readonly detached?: boolean
}

/**
 * How a contract's data becomes bytes: {@link json}, `avro(type)`, `protobuf(schema)`, one of those in `encrypted` or
 * `claimCheck`, or an application's own.
 */
export interface BodyFormat {
  /** Media type of the bodies it writes: `application/json`. */
  readonly contentType: string
  /** Whether it reads bodies of this media type, which is in lower case and without parameters. */
  reads(mediaType: string): boolean
  /** Throws anything when the data does not fit. Contracts give a context. */
  encode(data: unknown, context?: BodyContext): Uint8Array | Promise<Uint8Array>
  /**
   * Throws anything when the bytes are none of this format; an SdkError of its own passes through, and one that is
   * `retryable` has the message tried again later. Contracts give a context.
   */
  decode(body: Uint8Array, context?: BodyContext): unknown
  shape(): BodyShape
  /** Of a format around another one. */
  readonly layer?: BodyLayer
}
