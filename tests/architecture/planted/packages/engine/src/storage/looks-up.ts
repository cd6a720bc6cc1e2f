// Planted: storage lies below the queue; an import in a type position counts.
export type Above = import('../queue/learns-a-protocol.ts').Borrowed
