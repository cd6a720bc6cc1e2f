import type { Message } from '../message/message.ts'
import { attributesOf, messageOf } from './cloud-events-attributes.ts'
import { decodeStructured, isStructured } from './cloud-events-structured.ts'
import type { WireForm } from './wire-form.ts'

/** What other programs put before the names: HTTP and most AMQP senders, Kafka, and AMQP 1.0 in both of its ways. */
const PREFIXES = ['ce-', 'ce_', 'cloudevents:', 'cloudevents_']

const PREFIX = 'ce-'

/**
 * CloudEvents 1.0 in binary mode, the default: the body is the data as it is, and a header `ce-…` for each attribute. A
 * consumer without this SDK reads the body untouched. Messages in structured mode are read, too.
 */
export const cloudEvents: WireForm = {
  name: 'cloudevents',
  encode(message: Message) {
    const headers = Object.entries(attributesOf(message)).map(([name, value]) => [PREFIX + name, value] as const)
    return { headers: Object.fromEntries(headers), contentType: message.contentType, body: message.body }
  },
  decode(wired) {
    if (isStructured(wired.contentType)) return decodeStructured(wired)
    const attributes = new Map<string, string>()
    for (const [header, value] of Object.entries(wired.headers)) {
      const name = header.toLowerCase()
      const prefix = PREFIXES.find((start) => name.startsWith(start))
      if (prefix !== undefined) attributes.set(name.slice(prefix.length), value)
    }
    return messageOf(attributes, wired.contentType, wired.body)
  },
}
