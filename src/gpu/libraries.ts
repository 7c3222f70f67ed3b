// kernels/lib: the WGSL that kernels share.
import activation from '../../kernels/lib/activation.wgsl';
import batch from '../../kernels/lib/batch.wgsl';
import index from '../../kernels/lib/index.wgsl';
import padding from '../../kernels/lib/padding.wgsl';
import workgroupSum from '../../kernels/lib/workgroup_sum.wgsl';
import trilinear from '../../kernels/lib/trilinear.wgsl';
import matrix from '../../kernels/lib/matrix.wgsl';
import difference from '../../kernels/lib/difference.wgsl';
import local from '../../kernels/lib/local.wgsl';
import fieldsGpu from '../../kernels/lib/fields_gpu.wgsl';
import fieldsCpu from '../../kernels/lib/fields_cpu.wgsl';
import fields from '../../kernels/lib/fields.wgsl';
import fieldsSet from '../../kernels/lib/fields_set.wgsl';
import gaussianNorm from '../../kernels/lib/gaussian_norm.wgsl';
import corners from '../../kernels/lib/corners.wgsl';
import voxel from '../../kernels/lib/voxel.wgsl';
import column from '../../kernels/lib/column.wgsl';
import walkCpu from '../../kernels/lib/walk_cpu.wgsl';
import walkGpu from '../../kernels/lib/walk_gpu.wgsl';
import planeSums from '../../kernels/lib/plane_sums.wgsl';
import lnccGather from '../../kernels/lib/lncc_gather.wgsl';
import lncc from '../../kernels/lib/lncc.wgsl';
import jacobian from '../../kernels/lib/jacobian.wgsl';
import anderson from '../../kernels/lib/anderson.wgsl';
import workgroupSums from '../../kernels/lib/workgroup_sums.wgsl';
import finite from '../../kernels/lib/finite.wgsl';
import moments from '../../kernels/lib/moments.wgsl';
import items1 from '../../kernels/lib/items1.wgsl';
import items4 from '../../kernels/lib/items4.wgsl';
import reals1 from '../../kernels/lib/reals1.wgsl';
import reals4 from '../../kernels/lib/reals4.wgsl';
import weightsUniform from '../../kernels/lib/weights_uniform.wgsl';
import weightsStaged from '../../kernels/lib/weights_staged.wgsl';

/** Shared WGSL, appended after the body of a kernel that says `// @use name`; in `items$LANES` the constant LANES picks the file, by a
 * number, which the kernel knows too, or by a word. */
export const libraries: Record<string, string> = {
  index,
  batch,
  workgroup_sum: workgroupSum,
  trilinear,
  matrix,
  difference,
  local,
  fields,
  fields_gpu: fieldsGpu,
  fields_cpu: fieldsCpu,
  fields_set: fieldsSet,
  gaussian_norm: gaussianNorm,
  column,
  corners,
  voxel,
  walk_cpu: walkCpu,
  walk_gpu: walkGpu,
  plane_sums: planeSums,
  lncc_gather: lnccGather,
  lncc,
  jacobian,
  anderson,
  finite,
  activation,
  moments,
  padding,
  workgroup_sums: workgroupSums,
  items1,
  items4,
  reals1,
  reals4,
  weights_uniform: weightsUniform,
  weights_staged: weightsStaged,
};
