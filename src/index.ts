// The library, safe in a browser: bring a GPUAdapter or a GPUDevice, get tensors, ops, solvers and registration.
export { Gpu, type AdapterInfo } from './gpu/device.ts';
export type { Bytes, Tag } from './gpu/ledger.ts';
export { type Constants, type Kernel, kernel } from './gpu/kernel.ts';
export {
  type Dispatch,
  type DType,
  Graph,
  type Launch,
  numel,
  oneDtype,
  type Op,
  type Processor,
  type Pullback,
  sameShape,
  type Shape,
  show,
  type Tensor,
  trace,
} from './graph/graph.ts';
export { checkLimits, plan, type Plan, processorOf } from './graph/plan.ts';
export { runOnce, Schedule, type Timing } from './graph/schedule.ts';
export * from './ops/index.ts';
export { flat, perVoxel, volume, type VolumeSize } from './ops/launch.ts';
export { anderson, type AndersonOptions, andersonState, type AndersonState, resetAnderson, type StepStatistics } from './deq/anderson.ts';
export {
  iterate,
  type Iteration,
  type Mapped,
  type Method,
  type Outcome,
  type Step,
  type StopRule,
  traceIteration,
  type Verdict,
} from './deq/solver.ts';
export { planRegistration, register, type Evaluation, type LevelResult, type Progress, type Registration } from './register/register.ts';
export type { RegisterOptions, RegistrationMethod, ResolvedOptions } from './register/options.ts';
export type { AffineMode, AffineResult, Memory } from './register/affine.ts';
export type { IntensityWindow, Modality } from './register/intensity.ts';
export { applyDisplacement, type Interpolation } from './register/apply.ts';
export { transformPoints } from './register/points.ts';
export {
  dice,
  hd95,
  jacobianStats,
  type JacobianStats,
  type Overlap,
  presentLabels,
  type SurfaceDistance,
  type TargetError,
  tre,
  warpLabels,
} from './register/metrics.ts';
export { nonDiffeomorphicPercent } from './register/diffeomorphic.ts';
export { encodeModel, type ModelCard, parseModel } from './register/model.ts';
export {
  composeFields,
  fieldOfAffine,
  invert,
  jacobian,
  planInverse,
  type InverseOutcome,
  type InverseResidual,
  type InvertOptions,
} from './register/fields.ts';
export {
  type DataList,
  type DataPair,
  type DataSplit,
  dataSplits,
  type DataSubject,
  pairsOf,
  parseDataList,
  subjectsOf,
} from './io/data-list.ts';
export { type Affine, applyAffine, composeAffine, invertAffine, type Vec3, voxelSpacing, voxelToVoxel } from './io/affine.ts';
export { convertDisplacement, type DisplacementForm, fromPhysical, toPhysical } from './io/displacement.ts';
export { type Landmarks, parseLandmarks } from './io/landmarks.ts';
export { parseVolume } from './io/parse-volume.ts';
export { parsePoints, type PointTable } from './io/points.ts';
export { encodeItkAffine, parseItkAffine } from './io/transform.ts';
export { type DisplacementField, encodeDisplacement, encodeNifti, type NiftiImage, parseDisplacement, parseNifti } from './io/nifti.ts';
export type { Float32Volume, Grid, MaskedVolume, Volume } from './io/volume.ts';
export {
  type Cell,
  cellOf,
  type CellOptions,
  checkCell,
  convolve,
  type Layer,
  layer,
  type LevelImages,
  lnccDisplacementForce,
  type SimilarityJacobian,
  similarityStep,
  storedAs,
} from './models/cell.ts';
export { cells, type Model } from './models/cells.ts';
export { deqreg } from './models/deqreg.ts';
export { gradirn } from './models/gradirn.ts';
export { type VariationalOptions, variationalCell } from './models/variational.ts';
export {
  type AugmentationValues,
  type AugmentedPair,
  drawAugmentation,
  type ImagePair,
  traceAugmentation,
  uploadAugmentation,
} from './train/augment.ts';
export { type Augmentation, augmentations, synthetic } from './train/augment-options.ts';
export {
  adjointOf,
  beginTraining,
  type LossOptions,
  runTrainingStep,
  traceTrainingStep,
  type TrainingOutcome,
  type TrainingPair,
  type TrainingRun,
  type TrainingStep,
  type TrainingStepOptions,
  unitGrid,
} from './train/step.ts';
export { deq, runDeq, type Adjoint, type Deq, type DeqOutcome, type DeqProblem } from './deq/deq.ts';
export type { Correction, DeqRun, JacobianPenalty, Linearisation } from './deq/deq.ts';
export * from './deq/spectral.ts';
export { gaussianField } from './ops/noise.ts';
export { seededRandom } from './ops/random.ts';
export { drawIterations } from './train/budget.ts';
export { constantRate, cosineRate, type LearningRate, linearWarmUp, stepRate } from './train/learning-rate.ts';
export { encodeSafetensors, type NamedArray, parseSafetensors, type Safetensors } from './io/safetensors.ts';
export { constant, type Initialiser, kaimingUniform, normal, Parameters, type ParameterValues, zeros } from './models/parameters.ts';
