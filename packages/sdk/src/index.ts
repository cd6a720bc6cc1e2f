export { avro, avroUpcast } from './contract/avro-body.ts'
export type { BodyFormat } from './contract/body-format.ts'
export { command } from './contract/command.ts'
export type { Command } from './contract/command.ts'
export type { Contract, DataOf, ReceivedOf } from './contract/contract.ts'
export type { DeclaredContract, Instance } from './contract/declaration.ts'
export { event } from './contract/event.ts'
export type { Event } from './contract/event.ts'
export { json } from './contract/json-body.ts'
export { protobuf } from './contract/protobuf-body.ts'
export { request } from './contract/request.ts'
export type { Request } from './contract/request.ts'
export type { RequestContract } from './contract/request-contract.ts'
export { SdkError } from './errors.ts'
export type { SdkErrorCode } from './errors.ts'
export type { HttpHandlers } from './http/http.ts'
export type { IntakeOptions } from './http/intake.ts'
export { Uncertain } from './inbox/declaration.ts'
export type {
  BatchContext,
  BatchHandler,
  BatchItem,
  BatchOptions,
  EffectContext,
  EffectHandler,
  EffectOptions,
  EffectState,
  HandlerContext,
  ItemResult,
  OnExhausted,
  OnHandler,
  OnOptions,
} from './inbox/declaration.ts'
export type { Log } from './log.ts'
export type { Message, MessageKind, Metadata } from './message/message.ts'
export type { Retention } from './outbox/cleaner.ts'
export type { SendOptions } from './outbox/outgoing.ts'
export type { RelayOptions } from './outbox/relay-options.ts'
export type { Scope } from './outbox/scope.ts'
export type { MessageSettings } from './register/message-settings.ts'
export type { Register } from './register/register.ts'
export type { AnswerContext, AnswerHandler, AnswerOptions } from './request/answerer.ts'
export type { AnswerOf } from './request/answer.ts'
export type { AskOptions } from './request/asker.ts'
export type { RetryOptions } from './retry/retry-policy.ts'
export { checkCompatibility } from './schema/compatibility.ts'
export type { CompatibilityMode, Finding } from './schema/compatibility.ts'
export { manifestOf, parseManifest } from './schema/manifest.ts'
export type { Manifest } from './schema/manifest.ts'
export { checkStoredBodies } from './schema/stored-bodies.ts'
export type { StoredBodies, Unreadable } from './schema/stored-bodies.ts'
export { Service, service } from './service.ts'
export type { ServiceOptions } from './service.ts'
export { openTelemetry } from './telemetry/open-telemetry.ts'
export type { Telemetry } from './telemetry/telemetry.ts'
export type { Duration } from './time/duration.ts'
export { cloudEvents } from './wire/cloud-events.ts'
export { cloudEventsStructured } from './wire/cloud-events-structured.ts'
export { envelope } from './wire/envelope.ts'
export type { WireForm } from './wire/wire-form.ts'
