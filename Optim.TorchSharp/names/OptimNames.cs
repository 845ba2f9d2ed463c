// Beside `using TorchSharp.Modules;`, the optimizers are Optim's.
global using Adadelta = Optim.Adadelta;
global using Adagrad = Optim.Adagrad;
global using Adam = Optim.Adam;
global using Adamax = Optim.Adamax;
global using AdamW = Optim.AdamW;
global using ASGD = Optim.ASGD;
global using LBFGS = Optim.LBFGS;
global using NAdam = Optim.NAdam;
global using RAdam = Optim.RAdam;
global using Rprop = Optim.Rprop;
global using SGD = Optim.SGD;
