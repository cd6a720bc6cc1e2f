import type { Message } from '../message/message.ts'
import { attributesOf, messageOf } from './cloud-events-attributes.ts'
import { malformed } from './field.ts'
import { bodyOf, dataOf, jsonBytes, objectOf } from './json-message.ts'
import type { Wired, WireForm } from './wire-form.ts'

const CONTENT_TYPE = 'application/cloudevents+json'

/** Attributes that are numbers in JSON. */
const NUMBERS: ReadonlySet<string> = new Set(['dataversion', 'keyseq'])

/**
 * CloudEvents 1.0 in structured mode: one JSON object with the attributes and the data, for transports without headers. JSON
 * data is a part of the object; other data is in Base64.
 */
export const cloudEventsStructured: WireForm = {
  name: 'cloudevents-structured',
  encode(message: Message) {
    const { contentType, body } = message
    const attributes = Object.entries(attributesOf(message)).map(
      ([name, value]) => [name, NUMBERS.has(name) ? Number(value) : value] as const,
    )
    const object = { ...Object.fromEntries(attributes), datacontenttype: contentType, ...dataOf(contentType, body) }
    return { headers: {}, contentType: `${CONTENT_TYPE}; charset=utf-8`, body: jsonBytes(object) }
  },
  decode: (wired) => decodeStructured(wired),
}

/** Whether a body of this type is a message in structured mode. */
export function isStructured(contentType: string): boolean {
  return contentType.trim().toLowerCase().startsWith(CONTENT_TYPE)
}

/** @throws {SdkError} `malformed_message` naming the attribute */
export function decodeStructured({ body }: Wired): Message {
  const object = objectOf(body)
  const attributes = new Map<string, string>()
  for (const [name, value] of Object.entries(object)) {
    // Null is the same as not there (CloudEvents JSON format §3.1).
    if (name === 'data' || name === 'data_base64' || value === null) continue
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean')
      throw malformed(name, 'is no text, number or boolean; attributes are nothing else')
    attributes.set(name, String(value))
  }
  const contentType = attributes.get('datacontenttype') ?? 'application/json'
  return messageOf(attributes, contentType, bodyOf(object, contentType) ?? new Uint8Array())
}
