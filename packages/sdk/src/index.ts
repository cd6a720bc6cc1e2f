export type { Blobs } from './blobs/blobs.ts'
export { directoryBlobs } from './blobs/directory-blobs.ts'
export { memoryBlobs } from './blobs/memory-blobs.ts'
export { avro, avroUpcast } from './contract/avro-body.ts'
export type { AvroType } from './contract/avro-body.ts'
export type {
  BodyContext,
  BodyFormat,
  BodyLayer,
  BodyShape,
  ProtobufField,
  ShapeLayer,
  Written,
} from './contract/body-format.ts'
export { keyRing } from './contract/body-keys.ts'
export type { BodyKey, BodyKeys } from './contract/body-keys.ts'
export { claimCheck } from './contract/claim-check-body.ts'
export type { ClaimCheckOptions } from './contract/claim-check-body.ts'
export { command } from './contract/command.ts'
export type { Command } from './contract/command.ts'
export type { Contract, DataOf, Encoded, ReceivedOf } from './contract/contract.ts'
export type {
  ContractOptions,
  Declaration as ContractDeclaration,
  DeclaredContract,
  Instance,
  NextOptions,
} from './contract/declaration.ts'
export { encrypted } from './contract/encrypted-body.ts'
export type { EncryptedOptions } from './contract/encrypted-body.ts'
export { event } from './contract/event.ts'
export type { Event } from './contract/event.ts'
export { json } from './contract/json-body.ts'
export { protobuf } from './contract/protobuf-body.ts'
export type { ProtobufSchema } from './contract/protobuf-body.ts'
export { request } from './contract/request.ts'
export type { DeclaredPayload, ErrorSchemas, ErrorsOf, Request, RequestOptions } from './contract/request.ts'
export type { DeclaredErrors, Payload, RequestContract } from './contract/request-contract.ts'
export type { Digest } from './contract/version-chain.ts'
export { declareManifest } from './declare-manifest.ts'
export type { Description } from './description.ts'
export { SdkError } from './errors.ts'
export type { SdkErrorCode, SdkErrorOptions } from './errors.ts'
export type { HttpHandlers } from './http/http.ts'
export type { AcceptedContract, Caller, IntakeOptions } from './http/intake.ts'
export { Uncertain } from './inbox/declaration.ts'
export type {
  BatchContext,
  BatchHandler,
  BatchItem,
  BatchOptions,
  ConsumerOptions,
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
export type { Guarantee } from './inbox/guarantee.ts'
export type { Log } from './log.ts'
export type { Message, MessageKind, Metadata } from './message/message.ts'
export type { BlobRetention, Retention } from './outbox/cleaner.ts'
export type { OutboxLimit } from './outbox/depth-limit.ts'
export type { Sendable, SendOptions } from './outbox/outgoing.ts'
export type { RelayOptions } from './outbox/relay-options.ts'
export type { Scope, SendArguments } from './outbox/scope.ts'
export type { Random } from './random.ts'
export type { BulkGroup, BulkOptions, BulkResult, Unreadable as UnreadableEntry } from './register/bulk.ts'
export type {
  CleanUpRule,
  CleanUpState,
  DescribedSettings,
  Handling,
  MessageSettings,
  SettingsDirectory,
} from './register/message-settings.ts'
export type { Pace } from './register/pace.ts'
export type { EditOptions, Inspected, ListOptions, PurgeOptions, Register } from './register/register.ts'
export type { Selection } from './register/selection.ts'
export type { SendableContract, SendNowOptions, SentNow, Submitted, SubmitOptions } from './register/submission.ts'
export type { AnswerContext, AnswerHandler, AnswerOptions } from './request/answerer.ts'
export type { Answer, AnswerOf, ErrorPayloads, UndeclaredAnswer, UndeclaredError } from './request/answer.ts'
export type { AskerOptions, AskOptions } from './request/asker.ts'
export type { Fail } from './request/declined.ts'
export type { RetryOptions } from './retry/retry-policy.ts'
export type { ScheduleOptions } from './schedule/declaration.ts'
export type { Missed } from './schedule/occurrences.ts'
export { checkCompatibility } from './schema/compatibility.ts'
export type { CompatibilityMode, Finding } from './schema/compatibility.ts'
export { manifestOf, parseManifest } from './schema/manifest.ts'
export type { Manifest, Owner } from './schema/manifest.ts'
export { checkStoredBodies } from './schema/stored-bodies.ts'
export type { StoredBodies, Unreadable } from './schema/stored-bodies.ts'
export { Service, service } from './service.ts'
export type { ServiceOptions, StopOptions } from './service.ts'
export type { Attempt, RegisterEntry, RegisterFilter, RegisterPage, RegisterState, Store } from './store/port.ts'
export { openTelemetry } from './telemetry/open-telemetry.ts'
export type { Attributes, Span, Telemetry } from './telemetry/telemetry.ts'
export type { Clock, Timer } from './time/clock.ts'
export type { Duration } from './time/duration.ts'
export type { Transport } from './transport/port.ts'
export { cloudEvents } from './wire/cloud-events.ts'
export { cloudEventsStructured } from './wire/cloud-events-structured.ts'
export { envelope } from './wire/envelope.ts'
export type { Wired, WireForm } from './wire/wire-form.ts'
