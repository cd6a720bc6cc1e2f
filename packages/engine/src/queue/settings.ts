/** What a queue does with its messages. Neutral: each front-end translates its own arguments. */
export interface QueueSettings {
  /** Longest stay of a message, ms. 0: deliver at once or expire. */
  readonly messageTtlMs?: number
  /** The queue goes when nobody used it for this long, ms. */
  readonly expiresMs?: number
  /** Most ready messages. */
  readonly lengthMax?: number
  /** Most bytes of ready messages. */
  readonly bytesMax?: number
  /** What happens at a limit: the oldest goes (dead-lettered), or the new one is refused (and dead-lettered). */
  readonly overflow: 'drop-head' | 'reject' | 'reject-dead-letter'
  readonly deadLetterExchange?: string
  /** Routing key of dead letters; without it they keep their own. */
  readonly deadLetterKey?: string
  /** Highest priority; without it all messages are equal. */
  readonly priorityMax?: number
  /** Only the first consumer gets messages; the next one follows when it leaves. */
  readonly singleActive?: boolean
  /** Failed attempts after which a message is given up. */
  readonly deliveryLimit?: number
  /** How long a consumer may hold a message; sessions keep it. */
  readonly leaseMs?: number
}

export interface QueueDefinition {
  readonly name: string
  readonly durable: boolean
  /** Usable by its owner only, and gone with it. */
  readonly exclusive: boolean
  /** Gone when its last consumer leaves. */
  readonly autoDelete: boolean
  readonly settings: QueueSettings
  /** What the front-end that declared it wants back; the engine does not look inside. */
  readonly opaque: string
}

/** How many lines a queue has: one for each priority. */
export function linesOf(definition: QueueDefinition): number {
  return (definition.settings.priorityMax ?? 0) + 1
}
