import { SdkError } from '../errors.ts'
import type { BodyContext, BodyFormat, BodyShape, ShapeLayer, Written } from './body-format.ts'

/** The format that data is written in, whatever is around it. */
export function coreOf(format: BodyFormat): BodyFormat {
  return format.layer === undefined ? format : coreOf(format.layer.inner)
}

/** What the layers of a format make of a body of its innermost one. */
export async function wrapped(format: BodyFormat, body: Uint8Array, context: BodyContext): Promise<Written> {
  if (format.layer === undefined) return { contentType: format.contentType, body }
  return format.layer.wrap(await wrapped(format.layer.inner, body, context), context)
}

/** Whether any layer keeps the data secret. */
export function isSecret({ layer }: BodyFormat): boolean {
  return layer !== undefined && (layer.secret === true || isSecret(layer.inner))
}

/** A text by which a body of the innermost format is known again; null when no layer has one of its own. */
export async function layerDigest(
  { layer }: BodyFormat,
  body: Uint8Array,
  known: string | null,
): Promise<string | null> {
  if (layer === undefined) return null
  return layer.digest === undefined ? layerDigest(layer.inner, body, known) : layer.digest(body, known)
}

/** The shape of a format with another layer around it. */
export function layeredShape(inner: BodyFormat, layer: ShapeLayer): BodyShape {
  const shape = inner.shape()
  return { ...shape, layers: [...(shape.layers ?? []), layer] }
}

/**
 * Reads what a layer found inside.
 *
 * @throws {SdkError} `malformed_message` when the inner format does not read such bodies
 */
export async function readInside(
  inner: BodyFormat,
  { contentType, body }: Written,
  context: BodyContext,
): Promise<unknown> {
  if (!inner.reads(mediaTypeOf(contentType)))
    throw new SdkError(
      'malformed_message',
      `inside the body of "${context.type}" is "${contentType}", which is read as ${inner.contentType} here`,
      { data: { field: 'contentType', contentType } },
    )
  return inner.decode(body, { ...context, contentType })
}

/** The media type without its parameters, in lower case. */
export function mediaTypeOf(contentType: string): string {
  return contentType.split(';', 1)[0]!.trim().toLowerCase()
}

/** A content type that names the one inside. */
export function contentTypeAround(mediaType: string, inner: string): string {
  return `${mediaType}; of="${inner.replaceAll(/["\\]/g, String.raw`\$&`)}"`
}

/** The opposite of {@link contentTypeAround}; null when nothing is named. */
export function contentTypeInside(contentType: string): string | null {
  const quoted = /;\s*of="((?:[^"\\]|\\.)*)"/i.exec(contentType)
  return quoted === null ? null : quoted[1]!.replaceAll(/\\(.)/g, '$1')
}
