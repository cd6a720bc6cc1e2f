import type { VHost } from '@stathmos/engine'
import type { Method } from '@stathmos/wire/amqp'

import type { ConnectionScope } from './connection-scope.ts'
import type { Refusal } from './errors.ts'

/** What a channel is to its parts. */
export interface ChannelScope {
  readonly connection: ConnectionScope
  readonly number: number
  readonly vhost: VHost
  /** Nothing may be sent on it any more. */
  readonly over: boolean
  send(method: Method): void
  /** Ends the channel with an error. */
  fail(refusal: Refusal): void
}
