// Transform files as ITK writes them, and where each takes four points (LPS mm): transforms.json. With Debian's libinsighttoolkit5-dev (5.2.1):
//   g++ -std=c++17 -I/usr/include/ITK-5.2 make.cpp -o /tmp/make -lITKIOTransformInsightLegacy-5.2 -lITKIOTransformMatlab-5.2 \
//     -lITKIOTransformBase-5.2 -lITKTransformFactory-5.2 -lITKTransform-5.2 -lITKCommon-5.2 -litkvnl_algo-5.2 -litkvnl-5.2 && /tmp/make
#include <fstream>
#include <iomanip>
#include <itkAffineTransform.h>
#include <itkCompositeTransform.h>
#include <itkEuler3DTransform.h>
#include <itkMatlabTransformIOFactory.h>
#include <itkSimilarity3DTransform.h>
#include <itkTransformFactory.h>
#include <itkTransformFileWriter.h>
#include <itkTranslationTransform.h>
#include <itkTxtTransformIOFactory.h>
#include <itkVersorRigid3DTransform.h>
#include <vector>

using Base = itk::Transform<double, 3, 3>;
const std::vector<std::array<double, 3>> points = { { 0, 0, 0 }, { 100, 0, 0 }, { -30, 55, 12 }, { 7, -80, 140 } };
std::ofstream json("transforms.json");
bool first = true;

template <typename T>
void Save(const T * transform, const std::string & file)
{
  auto writer = itk::TransformFileWriterTemplate<typename T::ScalarType>::New();
  writer->SetInput(transform);
  writer->SetFileName(file);
  writer->Update();
  json << (first ? "[\n" : ",\n") << "  { \"file\": \"" << file << "\", \"points\": [";
  first = false;
  for (size_t n = 0; n < points.size(); n++) {
    const auto to = transform->TransformPoint(typename T::InputPointType(points[n].data()));
    json << (n ? ", " : "") << "[[" << points[n][0] << ", " << points[n][1] << ", " << points[n][2] << "], [" << to[0] << ", " << to[1] << ", " << to[2] << "]]";
  }
  json << "] }";
}

template <typename T>
typename T::Pointer Make(const std::vector<double> & parameters, const std::vector<double> & fixed)
{
  auto transform = T::New();
  itk::OptimizerParameters<double> p(parameters.size()), f(fixed.size());
  std::copy(parameters.begin(), parameters.end(), p.begin());
  std::copy(fixed.begin(), fixed.end(), f.begin());
  transform->SetFixedParameters(f);
  transform->SetParameters(p);
  return transform;
}

int main()
{
  itk::TxtTransformIOFactory::RegisterOneFactory();
  itk::MatlabTransformIOFactory::RegisterOneFactory();
  itk::TransformFactory<itk::MatrixOffsetTransformBase<double, 3, 3>>::RegisterTransform();
  json << std::setprecision(17);
  const std::vector<double> matrix = { 1.02, 0.11, -0.05, -0.08, 0.97, 0.14, 0.03, -0.12, 1.05, 12.5, -7.25, 3.125 };
  const auto affine = Make<itk::AffineTransform<double, 3>>(matrix, { 10, -20, 30 });
  const auto euler = Make<itk::Euler3DTransform<double>>({ 0.3, -0.2, 0.5, 4, 5, -6 }, { 10, -20, 30, 0 });
  Save<Base>(affine, "affine.tfm");
  Save<Base>(affine, "affine.mat");
  Save<Base>(Make<itk::MatrixOffsetTransformBase<double, 3, 3>>(matrix, { 1, 2, 3 }), "base.txt");
  Save<Base>(euler, "euler.tfm");
  Save<Base>(euler, "euler.mat");
  Save<Base>(Make<itk::Euler3DTransform<double>>({ 0.3, -0.2, 0.5, 4, 5, -6 }, { 10, -20, 30, 1 }), "euler-zyx.tfm");
  Save<Base>(Make<itk::VersorRigid3DTransform<double>>({ 0.1, -0.25, 0.2, 4, 5, -6 }, { 10, -20, 30 }), "versor.tfm");
  Save<Base>(Make<itk::Similarity3DTransform<double>>({ 0.1, -0.25, 0.2, 4, 5, -6, 1.3 }, { 10, -20, 30 }), "similarity.mat");
  Save<Base>(Make<itk::TranslationTransform<double, 3>>({ 4, 5, -6 }, {}), "translation.tfm");
  auto both = itk::CompositeTransform<double, 3>::New();
  both->AddTransform(euler); // applied last
  both->AddTransform(affine); // applied first
  Save<Base>(both, "composite.tfm");
  json << "\n]\n";
}
