import { type EmbeddedOptions, EmbeddedTransport } from './embedded-transport.ts'

export { type EmbeddedOptions, EmbeddedTransport }

/**
 * Moves messages through an engine in this process: durable, without a network, for services of one process. Needs the
 * package `@stathmos/engine`. Any number of transports may share an engine or a directory; of several processes one only.
 */
export function embedded(options: EmbeddedOptions): EmbeddedTransport {
  return new EmbeddedTransport(options)
}
