import { type AmqpOptions, AmqpTransport } from './amqp-transport.ts'

export type { AmqpClient } from './client.ts'
export { type AmqpOptions, AmqpTransport }

/** Moves messages through a broker of AMQP 0-9-1: Stathmos or RabbitMQ. Needs the package `amqplib`. */
export function amqp(options: string | AmqpOptions): AmqpTransport {
  return new AmqpTransport(typeof options === 'string' ? { url: options } : options)
}
